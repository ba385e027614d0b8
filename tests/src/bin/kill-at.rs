//! `kill-at COUNT PROGRAM [ARGUMENT…]`: runs a program, and kills it as it begins its `COUNT`th sendto(2), which is how requests go
//! to the kernel by netlink; the calls of all its threads count together, which strace(1) cannot do. Ends as the program ends.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use nix::libc::SYS_sendto;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What this program is called with where it becomes the other one.
const TRACED: &str = "--traced";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next().expect("a count");
    if first == TRACED {
        let program = arguments.next().expect("a program");
        ptrace::traceme().expect("be traced by the parent");
        let failed = Command::new(program).args(arguments).exec();
        panic!("{failed}");
    }
    let count = first.to_str().and_then(|text| text.parse().ok());
    let this = std::env::current_exe().expect("the path of this program");
    let traced = Command::new(this).arg(TRACED).args(arguments).spawn();
    let pid = i32::try_from(traced.expect("start a program").id()).expect("a process ID");
    trace(Pid::from_raw(pid), count.expect("a count"))
}

/// Follows all threads of `program` to its end, or kills it.
fn trace(program: Pid, count: u64) -> ExitCode {
    let mut seen = 0;
    let mut is_set_up = false;
    loop {
        // Any thread: they are no children.
        let status = waitpid(None, Some(WaitPidFlag::__WALL)).expect("the program is there");
        let (stopped, signal) = match status {
            WaitStatus::Exited(pid, code) if pid == program => {
                return ExitCode::from(u8::try_from(code).expect("an exit status"));
            }
            WaitStatus::Signaled(pid, signal, _) if pid == program => {
                raise(signal).expect("end as the program did");
                return ExitCode::FAILURE;
            }
            WaitStatus::PtraceSyscall(thread) => {
                seen += u64::from(begins_request(thread));
                if seen == count {
                    kill(program, Signal::SIGKILL).expect("kill the program");
                    // Once: it is about to end.
                    seen += 1;
                }
                (thread, None)
            }
            WaitStatus::PtraceEvent(thread, ..) => (thread, None),
            WaitStatus::Stopped(thread, signal) => {
                let is_of_tracing = matches!(signal, Signal::SIGTRAP | Signal::SIGSTOP);
                if thread == program && !is_set_up {
                    let options = Options::PTRACE_O_TRACESYSGOOD
                        | Options::PTRACE_O_TRACECLONE
                        | Options::PTRACE_O_EXITKILL;
                    ptrace::setoptions(thread, options).expect("follow threads");
                    is_set_up = true;
                }
                (thread, (!is_of_tracing).then_some(signal))
            }
            _ => continue,
        };
        // A thread that was killed meanwhile has no more to do.
        let _ = ptrace::syscall(stopped, signal);
    }
}

/// Whether a thread that stopped at a system call begins a request: the register of the result holds -ENOSYS at the begin of a
/// call (arch/x86/entry/entry_64.S).
fn begins_request(thread: Pid) -> bool {
    let number = ptrace::getregs(thread).map(|registers| (registers.orig_rax, registers.rax));
    let no_such_call = -i64::from(nix::libc::ENOSYS);
    number.is_ok_and(|(number, result)| {
        number == SYS_sendto.unsigned_abs() && result == no_such_call.cast_unsigned()
    })
}
