//! One request and its answers on a netlink socket (netlink(7); extended acknowledgements as in
//! linux/netlink.h). What the messages say is left to `message`.

use std::io;

use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK_TLVS, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
    NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::NetlinkError;

/// A dump is made of messages of at most 32 KiB (netlink_dump, net/netlink/af_netlink.c).
const ANSWER_BYTES: usize = 64 * 1024;
/// How often a list that changed while it was made is made again.
const LIST_TRIES: u32 = 10;
/// `struct nlmsghdr` of the request, which an error repeats before its attributes.
const HEADER_BYTES: usize = 16;
/// NLMSGERR_ATTR_MSG, linux/netlink.h.
const ATTR_MSG: u16 = 1;

pub(super) struct Exchange {
    socket: Socket,
    sequence: u32,
}

impl Exchange {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Error texts are a convenience that kernels before 4.12 lack.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        Ok(Exchange {
            socket,
            sequence: 0,
        })
    }

    /// Sends a request and waits until the kernel has served it.
    pub(super) fn request(
        &mut self,
        operation: &str,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.send(operation, request, flags)?;
        self.receive(operation).map(|_| ())
    }

    /// Asks for a list, again while it changes under way.
    pub(super) fn list(
        &mut self,
        operation: &str,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        for _ in 0..LIST_TRIES {
            self.send(operation, request.clone(), flags)?;
            if let Some(answers) = self.receive(operation)? {
                return Ok(answers);
            }
        }
        Err(NetlinkError::Changing {
            operation: operation.to_owned(),
        })
    }

    fn send(
        &mut self,
        operation: &str,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        uninterrupted(|| self.socket.send(&bytes, 0))
            .map(|_| ())
            .map_err(|source| exchange_error(operation, source))
    }

    /// All answers to the last request; none if the list changed while it was made.
    fn receive(&self, operation: &str) -> Result<Option<Vec<RouteNetlinkMessage>>, NetlinkError> {
        let mut answers = Vec::new();
        let mut whole = true;
        let mut buffer = Vec::with_capacity(ANSWER_BYTES);
        loop {
            buffer.clear();
            uninterrupted(|| self.socket.recv(&mut buffer, 0))
                .map_err(|source| exchange_error(operation, source))?;
            let mut rest = buffer.as_slice();
            while !rest.is_empty() {
                let message =
                    NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(|source| {
                        NetlinkError::Decode {
                            operation: operation.to_owned(),
                            source,
                        }
                    })?;
                rest = rest.get(aligned(message.header.length)..).unwrap_or(&[]);
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(NetlinkError::Refused {
                            operation: operation.to_owned(),
                            detail: None,
                            source: io::Error::from_raw_os_error(-done.code),
                        });
                    }
                    NetlinkPayload::Done(_) => return Ok(whole.then_some(answers)),
                    NetlinkPayload::Error(error) if error.code.is_none() => {
                        return Ok(whole.then_some(answers));
                    }
                    NetlinkPayload::Error(error) => {
                        return Err(NetlinkError::Refused {
                            operation: operation.to_owned(),
                            detail: detail(&error, message.header.flags),
                            source: error.to_io(),
                        });
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The length of a message with its padding (NLMSG_ALIGN, linux/netlink.h); never 0, so that reading
/// always goes on.
fn aligned(length: u32) -> usize {
    (length as usize).max(1).next_multiple_of(4)
}

/// The words of the kernel in an error.
fn detail(error: &ErrorMessage, flags: u16) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let attributes = error.header.get(HEADER_BYTES..)?;
    NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == ATTR_MSG)
        .map(|attribute| {
            String::from_utf8_lossy(attribute.value())
                .trim_end_matches('\0')
                .to_owned()
        })
}

fn exchange_error(operation: &str, source: io::Error) -> NetlinkError {
    NetlinkError::Exchange {
        operation: operation.to_owned(),
        source,
    }
}

pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
