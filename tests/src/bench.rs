//! What the benchmarks share: samples, and the report that is written to `target/bench/<name>.json`
//! with a plot beside it. Every figure is a ratio to a floor measured in the same run.

mod attachers;
pub mod comparison;
pub mod crowd;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plotters::prelude::*;
use serde::Serialize;

use crate::host::locate;

/// Which way a ratio is better.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// A smaller value is better.
    Lower,
    /// A larger value is better.
    Higher,
}

/// A measured ratio and its goal.
#[derive(Clone, Debug, Serialize)]
pub struct Ratio {
    /// Its name, for example `add_over_bare_4`.
    pub name: String,
    /// What was measured.
    pub value: f64,
    /// What it should come to.
    pub goal: f64,
    /// Which way it is better.
    pub better: Better,
}

/// What the samples of one measurement come to.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The unit, for example `ms`.
    pub unit: String,
    /// The median.
    pub median: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// How many samples there are.
    pub n: usize,
}

/// A benchmark's outcome.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    ratios: Vec<Ratio>,
    figures: Vec<Figure>,
}

/// Samples of one measurement, in milliseconds or in whatever unit they are reported in.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a time, in milliseconds.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1e3);
    }

    /// Adds a value.
    pub fn push_value(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Adds those of another measurement.
    pub fn extend(&mut self, other: Samples) {
        self.0.extend(other.0);
    }

    /// The median; 0 if there is no sample.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The median of [`Samples::ratios`].
    pub fn over(&self, floor: &Samples) -> f64 {
        self.ratios(floor).median()
    }

    /// The ratios sample by sample: the two were measured in turns, so that a machine that gets slower slows both.
    pub fn ratios(&self, floor: &Samples) -> Samples {
        let pairs = self.0.iter().zip(&floor.0);
        Samples(pairs.map(|(value, floor)| value / floor).collect())
    }

    /// The value below which a share `q` (0 to 1) of the samples is; 0 if there is no sample.
    pub fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        // The index is at most `last`.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 ≤ q ≤ 1"
        )]
        let index = (last as f64 * q).ceil() as usize;
        sorted.get(index).copied().unwrap_or_default()
    }
}

impl Report {
    /// Adds a ratio.
    pub fn ratio(&mut self, name: &str, value: f64, goal: f64, better: Better) {
        let value = (value * 1000.0).round() / 1000.0;
        self.ratios.push(Ratio {
            name: name.to_owned(),
            value,
            goal,
            better,
        });
    }

    /// Adds the figures of a measurement.
    pub fn figure(&mut self, name: &str, unit: &str, samples: &Samples) {
        self.figures.push(Figure {
            name: name.to_owned(),
            unit: unit.to_owned(),
            median: (samples.median() * 1000.0).round() / 1000.0,
            p99: (samples.quantile(0.99) * 1000.0).round() / 1000.0,
            n: samples.0.len(),
        });
    }

    /// Writes `target/bench/<name>.json` and `.svg`, and a table to standard error.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn write(&self, name: &str) -> PathBuf {
        let folder = locate::target().join("bench");
        fs::create_dir_all(&folder).expect("make target/bench");
        let path = folder.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(self).expect("a report is JSON");
        fs::write(&path, text + "\n").expect("write the report");
        self.plot(&folder.join(format!("{name}.svg")), name);
        for ratio in &self.ratios {
            let reached = match ratio.better {
                Better::Lower => ratio.value <= ratio.goal,
                Better::Higher => ratio.value >= ratio.goal,
            };
            let sign = if matches!(ratio.better, Better::Lower) {
                '≤'
            } else {
                '≥'
            };
            let verdict = if reached { "reached" } else { "not reached" };
            eprintln!(
                "{:28} {:>8.3}  goal {sign} {:<6} {verdict}",
                ratio.name, ratio.value, ratio.goal
            );
        }
        for figure in &self.figures {
            eprintln!(
                "{:28} {:>8.3} {} (p99 {:.3}, n {})",
                figure.name, figure.median, figure.unit, figure.p99, figure.n
            );
        }
        path
    }

    /// A bar for each ratio, with its goal as a line across the bar.
    fn plot(&self, path: &Path, name: &str) {
        let height = 60 + 40 * u32::try_from(self.ratios.len()).expect("a few ratios");
        let root = SVGBackend::new(path, (760, height)).into_drawing_area();
        let most = self
            .ratios
            .iter()
            .map(|ratio| ratio.value.max(ratio.goal))
            .fold(0.1, f64::max)
            * 1.1;
        let draw = || -> Result<(), Box<dyn std::error::Error>> {
            root.fill(&WHITE)?;
            root.draw(&Text::new(
                format!("{name}: ratios within one run; the line is the goal"),
                (10, 10),
                ("sans-serif", 15),
            ))?;
            for (row, ratio) in self.ratios.iter().enumerate() {
                let top = 45 + 40 * i32::try_from(row)?;
                #[expect(clippy::cast_possible_truncation, reason = "within the picture")]
                let x = |value: f64| 270 + (value / most * 420.0) as i32;
                root.draw(&Text::new(
                    ratio.name.clone(),
                    (10, top + 6),
                    ("sans-serif", 14),
                ))?;
                root.draw(&Rectangle::new(
                    [(270, top), (x(ratio.value), top + 24)],
                    BLUE.mix(0.4).filled(),
                ))?;
                root.draw(&PathElement::new(
                    [(x(ratio.goal), top - 4), (x(ratio.goal), top + 28)],
                    RED.stroke_width(2),
                ))?;
                root.draw(&Text::new(
                    format!("{:.2}", ratio.value),
                    (x(ratio.value) + 6, top + 6),
                    ("sans-serif", 14),
                ))?;
            }
            root.present()?;
            Ok(())
        };
        draw().unwrap_or_else(|error| panic!("drawing {}: {error}", path.display()));
    }
}

/// The bytes of memory that a process has: VmRSS of proc(5).
///
/// # Panics
/// When there is no such process.
pub fn resident_bytes(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// Those of them that are in no file, as its executable is: RssAnon of proc(5).
///
/// # Panics
/// As [`resident_bytes`].
pub fn anonymous_bytes(pid: u32) -> u64 {
    memory(pid, "RssAnon:")
}

fn memory(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line
        .expect("the kernel shows the memory of a process")
        .trim();
    kib.trim_end_matches(" kB")
        .parse::<u64>()
        .expect("a number")
        * 1024
}

/// The bytes of a disk that the files of a folder take: holes in them take none.
///
/// # Panics
/// When it cannot be read.
pub fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("read a folder");
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(file) if file.is_dir() => folder_bytes(&entry.path()),
        Ok(file) => file.blocks() * 512,
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(size).sum()
}

/// Draws lines over a logarithmic axis into `target/bench/<name>.svg`: each has a name and its points.
///
/// # Panics
/// When it cannot be written.
pub fn line_plot(name: &str, title: &str, axes: (&str, &str), lines: &[(&str, &[(f64, f64)])]) {
    const COLOURS: [RGBColor; 3] = [BLUE, RED, GREEN];
    let folder = locate::target().join("bench");
    fs::create_dir_all(&folder).expect("make target/bench");
    let path = folder.join(format!("{name}.svg"));
    let points = || lines.iter().flat_map(|(_, points)| points.iter());
    let x = points().fold((f64::MAX, 1.0), |(low, high), (x, _)| {
        (f64::min(low, *x), f64::max(high, *x))
    });
    let top = points().map(|(_, y)| *y).fold(0.0, f64::max) * 1.1;
    let root = SVGBackend::new(&path, (760, 420)).into_drawing_area();
    let draw = || -> Result<(), Box<dyn std::error::Error>> {
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(60)
            .build_cartesian_2d((x.0..x.1).log_scale(), 0.0..top)?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(axes.0).y_desc(axes.1).draw()?;
        for ((name, points), colour) in lines.iter().zip(COLOURS) {
            chart
                .draw_series(
                    LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3),
                )?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
        }
        let mut labels = chart.configure_series_labels();
        labels.background_style(WHITE).border_style(BLACK).draw()?;
        root.present()?;
        Ok(())
    };
    draw().unwrap_or_else(|error| panic!("drawing {}: {error}", path.display()));
}
