//! Where an export goes: stdout, or a file that exists only when the export is whole.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::CliError;
use crate::out::Out;

/// stdout or a file.
pub(super) enum Target<'a> {
    Stdout(&'a mut Out),
    File(Whole),
}

impl<'a> Target<'a> {
    /// Begins.
    pub(super) fn open(file: Option<PathBuf>, out: &'a mut Out) -> Result<Target<'a>, CliError> {
        match file.filter(|path| path != Path::new("-")) {
            None => Ok(Target::Stdout(out)),
            Some(path) => Whole::create(path).map(Target::File),
        }
    }

    /// Writes more.
    pub(super) fn write(&mut self, text: &str) -> Result<(), CliError> {
        match self {
            Target::Stdout(out) => out.text(text),
            Target::File(file) => file.write(text),
        }
    }

    /// Ends; the name of the file, if it is one.
    pub(super) fn finish(self) -> Result<Option<PathBuf>, CliError> {
        match self {
            Target::Stdout(out) => out.flush().map(|()| None),
            Target::File(file) => file.finish().map(Some),
        }
    }
}

/// A temporary file beside the target; it is renamed to the target at the end, and removed if the export fails.
pub(super) struct Whole {
    path: PathBuf,
    beside: PathBuf,
    file: BufWriter<File>,
    whole: bool,
}

impl Whole {
    fn create(path: PathBuf) -> Result<Whole, CliError> {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        let beside = path.with_file_name(name);
        let file = File::create(&beside).map_err(|source| failed(&path, source))?;
        Ok(Whole {
            path,
            beside,
            file: BufWriter::new(file),
            whole: false,
        })
    }

    fn write(&mut self, text: &str) -> Result<(), CliError> {
        self.file
            .write_all(text.as_bytes())
            .map_err(|source| failed(&self.path, source))
    }

    fn finish(mut self) -> Result<PathBuf, CliError> {
        self.settle().map_err(|source| failed(&self.path, source))?;
        self.whole = true;
        Ok(self.path.clone())
    }

    fn settle(&mut self) -> std::io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        std::fs::rename(&self.beside, &self.path)?;
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if !self.whole {
            // What is left of half an export is of no use, and in nobody's way.
            let _ = std::fs::remove_file(&self.beside);
        }
    }
}

fn failed(path: &Path, source: std::io::Error) -> CliError {
    CliError::File {
        doing: "written",
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::Format;
    use crate::out::tests::captured;

    #[test]
    fn a_file_is_there_only_when_it_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("all.jsonl");
        let (mut out, _) = captured(Format::Table, false);
        let mut half = Target::open(Some(path.clone()), &mut out).expect("opened");
        half.write("half").expect("written");
        drop(half);
        let left = std::fs::read_dir(folder.path()).expect("listed").count();
        assert_eq!(left, 0, "nothing is left of half a file");
        let mut whole = Target::open(Some(path.clone()), &mut out).expect("opened");
        whole.write("whole\n").expect("written");
        assert_eq!(whole.finish().expect("ended"), Some(path.clone()));
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "whole\n");
    }
}
