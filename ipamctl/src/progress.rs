//! How far a long transfer is: a bar on stderr if stderr is a terminal, else nothing.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const OF_MANY: &str = "{msg} [{bar:32}] {human_pos}/{human_len} {per_sec} {eta}";
const UNKNOWN: &str = "{msg} {spinner} {human_pos} {per_sec}";

/// A bar for `total` items, or one without end if that is not known.
pub(crate) fn bar(doing: &'static str, total: Option<u64>) -> ProgressBar {
    let target = match io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(total, target).with_message(doing);
    let template = if total.is_some() { OF_MANY } else { UNKNOWN };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
