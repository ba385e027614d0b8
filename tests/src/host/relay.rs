//! Carries TCP connections from a namespace to a server outside of it: what listens on the loopback
//! address of the machine becomes reachable on a node.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::sys::socket;

use crate::host::netns::Netns;

/// A listener in a namespace, each connection of which is carried on to a server in the namespace of
/// the tests. Dropping it closes all.
#[derive(Debug)]
pub(crate) struct Relay {
    listener: Arc<TcpListener>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on `address` in `netns`, and connects to the same address outside.
    ///
    /// # Panics
    /// When the address is taken in the namespace.
    pub(crate) fn start(netns: &Netns, address: SocketAddr) -> Relay {
        let listener = netns
            .run(|| TcpListener::bind(address))
            .unwrap_or_else(|error| panic!("listen on {address} in {}: {error}", netns.name()));
        let listener = Arc::new(listener);
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (accepting, accepted) = (Arc::clone(&listener), Arc::clone(&connections));
        let acceptor = thread::spawn(move || {
            while let Ok((inside, _)) = accepting.accept() {
                if let Err(error) = carry(inside, address, &accepted) {
                    eprintln!("relay to {address}: {error}");
                }
            }
        });
        Relay {
            listener,
            connections,
            acceptor: Some(acceptor),
        }
    }

    /// Cuts every connection that is open; new ones are carried as before.
    pub(crate) fn cut(&self) {
        let mut connections = self.connections.lock().expect("no thread panicked here");
        for connection in connections.drain(..) {
            let _closed_already = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Wakes the acceptor: `accept` fails on a listener that is shut down (Linux).
        let _closed_already = socket::shutdown(self.listener.as_raw_fd(), socket::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ended = acceptor.join();
        }
        self.cut();
    }
}

/// Connects to the server and copies both ways; a connection that the server refuses is closed.
fn carry(
    inside: TcpStream,
    server: SocketAddr,
    connections: &Mutex<Vec<TcpStream>>,
) -> io::Result<()> {
    let outside = TcpStream::connect(server)?;
    for stream in [&inside, &outside] {
        stream.set_nodelay(true)?;
        let mut connections = connections.lock().expect("no thread panicked here");
        connections.push(stream.try_clone()?);
    }
    let (back_from, back_to) = (outside.try_clone()?, inside.try_clone()?);
    thread::spawn(move || copy(inside, outside));
    thread::spawn(move || copy(back_from, back_to));
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _cut = io::copy(&mut from, &mut to);
    let _closed_already = to.shutdown(Shutdown::Write);
}
