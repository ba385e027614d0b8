//! What a traced server wrote, from the output of strace: the operations on its store, in order, and what a power cut
//! at any of them leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use fastrand::Rng;
use memchr::memmem;

/// The system calls that change files, make them durable, or answer a caller.
pub(crate) const CALLS: &str = "trace=openat,pwrite64,write,writev,ftruncate,rename,unlink,rmdir,mkdir,\
     fsync,fdatasync,sendto,sendmsg";

/// A file, whatever its name is.
type Inode = usize;

#[derive(Debug)]
enum What {
    Write {
        inode: Inode,
        place: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        inode: Inode,
        length: u64,
    },
    /// A change of names; `None` removes.
    Name {
        path: String,
        inode: Option<Inode>,
    },
    /// Of a file's content.
    Sync(Inode),
    /// Of the names in a folder.
    SyncFolder(String),
    /// Something was sent to a caller.
    Answer(Vec<u8>),
}

/// An operation, with the lines of the trace in which it begins and ends.
#[derive(Debug)]
struct Operation {
    begins: usize,
    ends: usize,
    what: What,
}

/// All operations on a store.
pub(crate) struct Trace {
    store: String,
    operations: Vec<Operation>,
}

/// A call of the trace, whole.
struct Call<'a> {
    name: &'a str,
    arguments: &'a str,
    result: &'a str,
}

impl Trace {
    /// Reads the output of `strace -f -y -xx -s … -e CALLS`.
    pub(crate) fn read(text: &str, store: &Path) -> Trace {
        let mut reader = Reader {
            store: store.display().to_string(),
            ..Reader::default()
        };
        let mut begun: BTreeMap<&str, (usize, String)> = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let Some((thread, line)) = line.trim_start().split_once(' ') else {
                continue;
            };
            let line = line.trim_start();
            if let Some(first) = line.strip_suffix("<unfinished ...>") {
                begun.insert(thread, (number, first.trim_end().to_owned()));
                continue;
            }
            let (begins, whole) = match line.split_once(" resumed>") {
                Some((_, rest)) => match begun.remove(thread) {
                    Some((begins, first)) => (begins, format!("{first}{rest}")),
                    None => continue,
                },
                None => (number, line.to_owned()),
            };
            if let Some(call) = call(&whole) {
                reader.add(begins, number, &call);
            }
        }
        Trace {
            store: reader.store,
            operations: reader.operations,
        }
    }

    /// Where something was made durable: the places of a power cut.
    pub(crate) fn syncs(&self) -> Vec<usize> {
        let all = self.operations.iter().enumerate();
        all.filter(|(_, operation)| matches!(operation.what, What::Sync(_) | What::SyncFolder(_)))
            .map(|(at, _)| at)
            .collect()
    }

    /// The line of the trace in which an operation begins.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.operations[at].begins
    }

    /// The line of the trace after which a caller has an answer with these bytes.
    pub(crate) fn answered(&self, bytes: &[u8]) -> Option<usize> {
        let finder = memmem::Finder::new(bytes);
        let mut answers = self.operations.iter().filter_map(|one| match &one.what {
            What::Answer(sent) => Some((one.ends, sent)),
            _ => None,
        });
        answers.find_map(|(ends, sent)| finder.find(sent).map(|_| ends))
    }

    /// The last operation that gave a file of the store this name.
    pub(crate) fn last_named(&self, name: &str) -> Option<usize> {
        let path = format!("{}/{name}", self.store);
        let is_named = |one: &Operation| matches!(&one.what, What::Name { path: given, inode: Some(_) } if *given == path);
        self.operations.iter().rposition(is_named)
    }

    /// Makes the store as a power cut right after an operation leaves it: what was made durable is there; of the rest
    /// each write is, with a probability of `kept`, and the changes of names up to a random one.
    pub(crate) fn image(&self, at: usize, into: &Path, kept: f64, random: &mut Rng) {
        let done = &self.operations[..=at];
        // The line in which the last sync of a file or of a folder's names begins.
        let mut files_synced: BTreeMap<Inode, usize> = BTreeMap::new();
        let mut folders_synced: BTreeMap<&str, usize> = BTreeMap::new();
        for one in done {
            match &one.what {
                What::Sync(inode) => drop(files_synced.insert(*inode, one.begins)),
                What::SyncFolder(path) => drop(folders_synced.insert(path, one.begins)),
                _ => {}
            }
        }
        let _not_there = fs::remove_dir_all(into);
        fs::create_dir_all(into).expect("make a folder");
        let mut names: BTreeMap<&str, Inode> = BTreeMap::new();
        let mut goes_on = true;
        for one in done {
            let What::Name { path, inode } = &one.what else {
                continue;
            };
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let durable = folders_synced
                .get(folder)
                .is_some_and(|begins| *begins > one.ends);
            // Names become durable in order.
            goes_on = durable || (goes_on && random.f64() < kept);
            if goes_on {
                match inode {
                    Some(inode) => {
                        names.retain(|_, known| known != inode);
                        names.insert(path, *inode);
                    }
                    None => drop(names.remove(path.as_str())),
                }
            }
        }
        let mut files: BTreeMap<Inode, File> = BTreeMap::new();
        for (path, inode) in names {
            let relative = path.strip_prefix(&self.store).unwrap_or(path);
            let to = into.join(relative.trim_start_matches('/'));
            fs::create_dir_all(to.parent().expect("a folder")).expect("make a folder");
            let file = File::create(to).expect("make a file");
            files.insert(inode, file);
        }
        for one in done {
            let (What::Write { inode, .. } | What::Truncate { inode, .. }) = &one.what else {
                continue;
            };
            let Some(file) = files.get(inode) else {
                continue;
            };
            let durable = files_synced
                .get(inode)
                .is_some_and(|begins| *begins > one.ends);
            if !durable && random.f64() >= kept {
                continue;
            }
            match &one.what {
                What::Write { place, bytes, .. } => {
                    // A write that was not synced may be torn.
                    let length = match durable {
                        true => bytes.len(),
                        false => random.usize(0..=bytes.len()),
                    };
                    file.write_all_at(&bytes[..length], *place).expect("write");
                }
                What::Truncate { length, .. } => file.set_len(*length).expect("truncate"),
                _ => {}
            }
        }
    }
}

/// What is known while a trace is read.
#[derive(Default)]
struct Reader {
    store: String,
    operations: Vec<Operation>,
    inodes: BTreeMap<String, Inode>,
    next: Inode,
    /// Where the next plain write of a descriptor goes.
    places: BTreeMap<String, u64>,
    folders: BTreeSet<String>,
}

impl Reader {
    fn add(&mut self, begins: usize, ends: usize, call: &Call<'_>) {
        if call.result.starts_with('-') {
            return;
        }
        for what in self.of(call) {
            self.operations.push(Operation { begins, ends, what });
        }
    }

    fn of(&mut self, call: &Call<'_>) -> Vec<What> {
        let strings = strings(call.arguments);
        let (descriptor, path) = descriptor(call.arguments);
        match call.name {
            "openat" => self.opened(call, &strings),
            "pwrite64" | "write" if path.starts_with(&self.store) => {
                let Some(bytes) = strings.into_iter().next() else {
                    return Vec::new();
                };
                let place = if call.name == "pwrite64" {
                    let last = call.arguments.rsplit(',').next().unwrap_or_default();
                    last.trim().parse().expect("the offset of a pwrite64")
                } else {
                    let place = self.places.entry(descriptor).or_default();
                    let before = *place;
                    *place += bytes.len() as u64;
                    before
                };
                let inode = self.inode(&path);
                vec![What::Write {
                    inode,
                    place,
                    bytes,
                }]
            }
            "write" | "writev" | "sendto" | "sendmsg" if path.starts_with("socket:") => {
                vec![What::Answer(strings.concat())]
            }
            "ftruncate" if path.starts_with(&self.store) => {
                let last = call.arguments.rsplit(',').next().unwrap_or_default();
                let length = last.trim().parse().expect("the length of an ftruncate");
                let inode = self.inode(&path);
                vec![What::Truncate { inode, length }]
            }
            "fsync" | "fdatasync" if path.starts_with(&self.store) => {
                match self.inodes.get(&path) {
                    Some(&inode) => vec![What::Sync(inode)],
                    None => vec![What::SyncFolder(path)],
                }
            }
            "rename" => self.renamed(&strings),
            "unlink" => match text(&strings, 0) {
                path if path.starts_with(&self.store) => {
                    self.inodes.remove(&path);
                    vec![What::Name { path, inode: None }]
                }
                _ => Vec::new(),
            },
            "mkdir" => {
                self.folders.insert(text(&strings, 0));
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn opened(&mut self, call: &Call<'_>, strings: &[Vec<u8>]) -> Vec<What> {
        let path = text(strings, 0);
        let descriptor = call.result.split('<').next().unwrap_or_default();
        self.places.insert(descriptor.to_owned(), 0);
        if !path.starts_with(&self.store) || !call.arguments.contains("O_CREAT") {
            return Vec::new();
        }
        if let Some(&inode) = self.inodes.get(&path) {
            let truncates = call.arguments.contains("O_TRUNC");
            let what = What::Truncate { inode, length: 0 };
            return truncates.then_some(what).into_iter().collect();
        }
        let inode = Some(self.inode(&path));
        vec![What::Name { path, inode }]
    }

    fn renamed(&mut self, strings: &[Vec<u8>]) -> Vec<What> {
        let (from, to) = (text(strings, 0), text(strings, 1));
        let Some(inode) = self.inodes.remove(&from) else {
            return Vec::new();
        };
        self.inodes.insert(to.clone(), inode);
        vec![What::Name {
            path: to,
            inode: Some(inode),
        }]
    }

    fn inode(&mut self, path: &str) -> Inode {
        let next = &mut self.next;
        *self.inodes.entry(path.to_owned()).or_insert_with(|| {
            *next += 1;
            *next
        })
    }
}

fn call(line: &str) -> Option<Call<'_>> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(") = ").or_else(|| {
        // strace fills up to a column.
        let at = rest.rfind(" = ")?;
        Some((rest[..at].trim_end().strip_suffix(')')?, &rest[at + 3..]))
    })?;
    Some(Call {
        name,
        arguments,
        result,
    })
}

/// The number and the path of the descriptor that comes first: `5</path>`.
fn descriptor(arguments: &str) -> (String, String) {
    let first = arguments.split_once('<');
    let (number, rest) = first.unwrap_or_default();
    let path = rest.split_once('>').unwrap_or_default().0;
    (number.to_owned(), to_text(&unescaped(path)))
}

/// The strings in quotes.
fn strings(arguments: &str) -> Vec<Vec<u8>> {
    let parts = arguments.split('"').skip(1).step_by(2);
    parts.map(unescaped).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    if !text.starts_with("\\x") {
        return text.as_bytes().to_vec();
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => panic!("not a hexadecimal digit: {byte}"),
    };
    let bytes = text.as_bytes().chunks_exact(4);
    bytes.map(|x| digit(x[2]) * 16 + digit(x[3])).collect()
}

fn text(strings: &[Vec<u8>], at: usize) -> String {
    strings
        .get(at)
        .map_or_else(String::new, |bytes| to_text(bytes))
}

fn to_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
