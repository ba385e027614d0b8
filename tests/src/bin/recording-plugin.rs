//! A CNI plugin for tests. It writes down every call, and behaves as the key `record` of its own
//! configuration says:
//!
//! | Key | Meaning |
//! |---|---|
//! | `log` | file that gets one JSON line at the start and one at the end of each call |
//! | `on` | list of verbs that the keys from `delayMs` to `killParent` apply to; all, if absent |
//! | `while` | file: the keys from `delayMs` to `killParent` apply only as long as it is there |
//! | `delayMs` | waits so long before it does anything |
//! | `hold` | file: waits as long as it is there before it does anything, for a minute at most |
//! | `hang` | `true`: sleeps for ten minutes before it does anything |
//! | `failOn` | `{"ADD": {"code": 11, "msg": "…"}}`: fails these verbs; `"late": true` in it: after its work is done |
//! | `exit` | ends with this status without printing anything |
//! | `stderrBytes` | writes so many bytes to stderr |
//! | `print`, `printBytes` | prints this text, or so many bytes, instead of its result |
//! | `killParent` | `"ADD:before"` or `"ADD:after"`: SIGKILL to its parent before or after its work |
//! | `result` | result of ADD, as it stands |
//! | `ips` | addresses (`["10.9.0.5/24"]`) of the result of ADD, and of the interface |
//! | `link` | `true`: ADD makes a veth, DEL removes it, CHECK asks for it |
//!
//! Without any of these, ADD prints a result that names CNI_IFNAME in CNI_NETNS or passes `prevResult`
//! on, and the other verbs succeed. Every version from 0.1.0 to 1.1.0 is spoken.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::getppid;
use serde_json::{Value, json};

/// All versions of the CNI specification.
const VERSIONS: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

/// I/O failure (CNI specification, "Error").
const IO_FAILURE: u64 = 5;

fn main() -> ExitCode {
    let mut stdin = String::new();
    io::stdin()
        .read_to_string(&mut stdin)
        .expect("read the configuration");
    let call = Call::new(stdin);
    call.log(&call.start_line());
    let code = call.run();
    call.log(&json!({ "pid": std::process::id(), "end": now() }));
    code
}

struct Call {
    env: BTreeMap<String, String>,
    verb: String,
    stdin: String,
    conf: Value,
    record: Value,
}

impl Call {
    fn new(stdin: String) -> Call {
        let env: BTreeMap<String, String> = env::vars()
            .filter(|(key, _)| key.starts_with("CNI_"))
            .collect();
        let conf: Value = serde_json::from_str(&stdin).unwrap_or_default();
        Call {
            verb: env.get("CNI_COMMAND").cloned().unwrap_or_default(),
            record: conf["record"].clone(),
            env,
            stdin,
            conf,
        }
    }

    fn variable(&self, key: &str) -> &str {
        self.env.get(key).map_or("", String::as_str)
    }

    fn start_line(&self) -> Value {
        json!({
            "start": now(),
            "pid": std::process::id(),
            "ppid": getppid().as_raw(),
            "network": self.conf["name"],
            "env": self.env,
            "stdin": self.stdin,
        })
    }

    /// One write of a whole line to a file opened for appending: lines of parallel calls do not mix.
    fn log(&self, line: &Value) {
        let Some(path) = self.record["log"].as_str() else {
            return;
        };
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("open the log");
        file.write_all(format!("{line}\n").as_bytes())
            .expect("write the log");
    }

    fn run(&self) -> ExitCode {
        if self.verb == "VERSION" {
            print(&json!({ "cniVersion": "1.1.0", "supportedVersions": VERSIONS }).to_string());
            return ExitCode::SUCCESS;
        }
        let misbehave = self.misbehaves();
        if misbehave {
            self.wait();
            self.kill_parent("before");
            if let Some(failure) = self.failure(false) {
                return fail(&failure);
            }
        }
        let output = match self.work() {
            Ok(output) => output,
            Err(msg) => return fail(&json!({ "code": IO_FAILURE, "msg": msg })),
        };
        if misbehave {
            self.kill_parent("after");
            if let Some(code) = self.misprint() {
                return code;
            }
        }
        print(&output);
        ExitCode::SUCCESS
    }

    fn misbehaves(&self) -> bool {
        let on = self.record["on"].as_array();
        let file = self.record["while"].as_str();
        on.is_none_or(|verbs| verbs.iter().any(|verb| verb == self.verb.as_str()))
            && file.is_none_or(|file| Path::new(file).exists())
    }

    fn wait(&self) {
        if let Some(delay) = self.record["delayMs"].as_u64() {
            thread::sleep(Duration::from_millis(delay));
        }
        if let Some(file) = self.record["hold"].as_str() {
            let end = Instant::now() + Duration::from_secs(60);
            while Path::new(file).exists() && Instant::now() < end {
                thread::sleep(Duration::from_millis(5));
            }
        }
        if self.record["hang"] == true {
            thread::sleep(Duration::from_secs(600));
        }
    }

    fn kill_parent(&self, moment: &str) {
        if self.record["killParent"] == format!("{}:{moment}", self.verb) {
            kill(getppid(), Signal::SIGKILL).expect("kill the parent");
        }
    }

    fn failure(&self, late: bool) -> Option<Value> {
        let mut failure = self.record["failOn"][&self.verb].clone();
        let object = failure.as_object_mut()?;
        let is_late = object.shift_remove("late") == Some(Value::Bool(true));
        (is_late == late).then_some(failure)
    }

    /// Output that breaks the protocol, or comes after the work.
    fn misprint(&self) -> Option<ExitCode> {
        if let Some(count) = self.record["stderrBytes"].as_u64() {
            spill(io::stderr(), count);
        }
        if let Some(failure) = self.failure(true) {
            return Some(fail(&failure));
        }
        if let Some(status) = self.record["exit"].as_u64() {
            return Some(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)));
        }
        if let Some(count) = self.record["printBytes"].as_u64() {
            spill(io::stdout(), count);
            return Some(ExitCode::SUCCESS);
        }
        let text = self.record["print"].as_str()?;
        print(text);
        Some(ExitCode::SUCCESS)
    }

    /// What the verb is for; the text to print.
    fn work(&self) -> Result<String, String> {
        let link = self.record["link"] == true;
        match self.verb.as_str() {
            "ADD" => {
                let mac = if link { Some(self.add_link()?) } else { None };
                Ok(self.result(mac.as_deref()).to_string())
            }
            "DEL" if link => {
                let _gone_already = ip(&["link", "delete", &self.host_end()]);
                Ok(String::new())
            }
            "CHECK" if link => {
                self.enter()?;
                ip(&["link", "show", self.variable("CNI_IFNAME")]).map(|_| String::new())
            }
            _ => Ok(String::new()),
        }
    }

    fn result(&self, mac: Option<&str>) -> Value {
        if !self.record["result"].is_null() {
            return self.record["result"].clone();
        }
        if self.conf["prevResult"].is_object() {
            return self.conf["prevResult"].clone();
        }
        let version = self.conf["cniVersion"].as_str().unwrap_or("0.2.0");
        let ips = self.record["ips"].as_array().cloned().unwrap_or_default();
        let is_v6 = |ip: &Value| ip.as_str().is_some_and(|text| text.contains(':'));
        if matches!(version, "" | "0.1.0" | "0.2.0") {
            let mut result = json!({ "cniVersion": version });
            for ip in &ips {
                let key = if is_v6(ip) { "ip6" } else { "ip4" };
                result[key] = json!({ "ip": ip });
            }
            return result;
        }
        let mut interface = json!({
            "name": self.variable("CNI_IFNAME"),
            "sandbox": self.variable("CNI_NETNS"),
        });
        if let Some(mac) = mac {
            interface["mac"] = json!(mac);
        }
        let ips: Vec<Value> = ips
            .iter()
            .map(|ip| {
                let mut entry = json!({ "address": ip, "interface": 0 });
                if version.starts_with("0.") {
                    entry["version"] = json!(if is_v6(ip) { "6" } else { "4" });
                }
                entry
            })
            .collect();
        json!({ "cniVersion": version, "interfaces": [interface], "ips": ips, "dns": {} })
    }

    /// The name of the host's end of the veth: the same for ADD and DEL of one attachment.
    fn host_end(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.variable("CNI_CONTAINERID").hash(&mut hasher);
        self.variable("CNI_IFNAME").hash(&mut hasher);
        format!("rec{:08x}", hasher.finish() & 0xffff_ffff)
    }

    /// Makes the veth, goes into the sandbox, sets up the interface and gives its MAC address.
    fn add_link(&self) -> Result<String, String> {
        let (ifname, host_end) = (self.variable("CNI_IFNAME"), self.host_end());
        let netns = self.variable("CNI_NETNS");
        let veth = ["link", "add", &host_end, "type", "veth"];
        ip(&[&veth[..], &["peer", "name", ifname, "netns", netns]].concat())?;
        ip(&["link", "set", &host_end, "up"])?;
        self.enter()?;
        ip(&["link", "set", ifname, "up"])?;
        for address in self.record["ips"].as_array().into_iter().flatten() {
            let address = address.as_str().unwrap_or_default();
            ip(&["address", "add", address, "dev", ifname])?;
        }
        let links: Value = serde_json::from_str(&ip(&["-j", "link", "show", "dev", ifname])?)
            .map_err(|error| error.to_string())?;
        Ok(links[0]["address"].as_str().unwrap_or_default().to_owned())
    }

    fn enter(&self) -> Result<(), String> {
        let netns = self.variable("CNI_NETNS");
        let file = File::open(netns).map_err(|error| format!("{netns}: {error}"))?;
        setns(file, CloneFlags::CLONE_NEWNET).map_err(|error| format!("{netns}: {error}"))
    }
}

fn ip(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", arguments.join(" "), stderr.trim()))
}

fn fail(error: &Value) -> ExitCode {
    let mut error = error.clone();
    error["cniVersion"] = json!("1.1.0");
    print(&error.to_string());
    ExitCode::FAILURE
}

/// Prints what it can: a parent that is gone reads nothing.
fn print(text: &str) {
    let _closed = io::stdout().write_all(text.as_bytes());
}

fn spill(mut stream: impl Write, count: u64) {
    let _closed = io::copy(&mut io::repeat(b'x').take(count), &mut stream);
}

/// Nanoseconds on the monotonic clock.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the kernel has a clock");
    u64::try_from(Duration::from(time).as_nanos()).expect("584 years fit")
}
