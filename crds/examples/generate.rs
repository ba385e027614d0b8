//! Writes `crds/yaml/` from the types: `cargo run -p crds --example generate`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    for crd in crds::all() {
        let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
        let yaml = serde_saphyr::to_string_with_options(&crd, options)?;
        std::fs::write(folder.join(crds::file_name(&crd)), yaml)?;
    }
    Ok(())
}
