//! Frames as a client sends them (RFC 9113, 4.1): finds the header blocks in them, however the bytes are cut into reads.

use super::block::Block;

/// What a client sends first (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's head (RFC 9113, 4.1).
const HEAD: usize = 9;
/// Bytes of a stream dependency and a weight (RFC 9113, 6.2).
const PRIORITY_BYTES: usize = 5;

/// Types of frames that carry header blocks (RFC 9113, 6.2 and 6.10).
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
/// Flags of HEADERS (RFC 9113, 6.2).
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The place in a client's frames.
#[derive(Debug)]
pub(super) struct Frames {
    part: Part,
    block: Block,
}

/// A part of a frame that has not ended.
#[derive(Clone, Copy, Debug)]
enum Part {
    Head {
        bytes: [u8; HEAD],
        filled: usize,
    },
    /// The length of the padding; then comes the rest of HEADERS.
    PadLength {
        rest: usize,
        priority: usize,
    },
    /// Bytes in front of a header block, or of a frame without one.
    Skip {
        left: usize,
        block: usize,
        padding: usize,
    },
    Block {
        left: usize,
        padding: usize,
    },
}

impl Part {
    const START: Part = Part::Head {
        bytes: [0; HEAD],
        filled: 0,
    };

    fn skip(left: usize) -> Part {
        Part::before_block(left, 0, 0)
    }

    fn before_block(left: usize, block: usize, padding: usize) -> Part {
        match (left, block) {
            (0, 0) if padding == 0 => Part::START,
            (0, 0) => Part::skip(padding),
            (0, left) => Part::Block { left, padding },
            _ => Part::Skip {
                left,
                block,
                padding,
            },
        }
    }
}

impl Frames {
    pub(super) fn new() -> Frames {
        Frames {
            part: Part::skip(PREFACE.len()),
            block: Block::default(),
        }
    }

    /// Overwrites each `:authority` in the next bytes of the connection.
    pub(super) fn overwrite(&mut self, mut bytes: &mut [u8]) {
        while let Some(&first) = bytes.first() {
            let (count, next) = match self.part {
                Part::Head {
                    bytes: mut head,
                    filled,
                } => {
                    head[filled] = first;
                    let filled = filled + 1;
                    let part = Part::Head {
                        bytes: head,
                        filled,
                    };
                    (
                        1,
                        if filled == HEAD {
                            self.begin(head)
                        } else {
                            part
                        },
                    )
                }
                Part::PadLength { rest, priority } => {
                    let padding = usize::from(first);
                    let block = rest.saturating_sub(priority + padding);
                    (1, Part::before_block(priority, block, padding))
                }
                Part::Skip {
                    left,
                    block,
                    padding,
                } => {
                    let count = left.min(bytes.len());
                    (count, Part::before_block(left - count, block, padding))
                }
                Part::Block { left, padding } => {
                    let count = left.min(bytes.len());
                    for byte in &mut bytes[..count] {
                        self.block.overwrite(byte);
                    }
                    (count, Part::before_block(0, left - count, padding))
                }
            };
            self.part = next;
            bytes = &mut bytes[count..];
        }
    }

    /// What follows a frame's head.
    fn begin(&mut self, head: [u8; HEAD]) -> Part {
        let [high, middle, low, kind, flags, ..] = head;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if kind == HEADERS {
            self.block = Block::default();
        }
        let priority = if flags & PRIORITY != 0 {
            PRIORITY_BYTES
        } else {
            0
        };
        match kind {
            HEADERS if flags & PADDED != 0 && length > 0 => Part::PadLength {
                rest: length - 1,
                priority,
            },
            HEADERS => Part::before_block(priority, length.saturating_sub(priority), 0),
            CONTINUATION => Part::before_block(0, length, 0),
            _ => Part::skip(length),
        }
    }
}
