//! Messages on bidirectional streams, in both directions.

use bytes::{Bytes, BytesMut};
use quinn::{RecvStream, SendStream};
use serde::{Serialize, de::DeserializeOwned};

use crate::wire::{
    MAX_JSON, MAX_MESSAGE, Malformed, Message, MessageDecoder, StreamKind, encode_message,
    get_varint, put_varint,
};

/// What is said goes before the groups of the same connection.
const BEFORE_MEDIA: i32 = i32::MAX;

/// Why no message came.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The bytes are not of the specified form.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The JSON is not of the expected shape.
    #[error("not a valid message: {0}")]
    Json(#[from] serde_json::Error),
    /// What was to be sent is longer than the other side would take; nothing was sent.
    #[error("cannot send a message of {length} bytes: the bound is {bound}")]
    TooLong {
        /// Its length.
        length: usize,
        /// The bound.
        bound: usize,
    },
    /// The stream or connection ended.
    #[error("the stream broke off: {0}")]
    Broken(String),
}

impl MessageError {
    /// Whether the peer is at fault, not the network.
    pub fn is_malformed(&self) -> bool {
        matches!(self, MessageError::Malformed(_) | MessageError::Json(_))
    }
}

fn broken(error: impl std::fmt::Display) -> MessageError {
    MessageError::Broken(error.to_string())
}

/// Opens a bidirectional stream and says what it is for.
pub async fn open(
    connection: &quinn::Connection,
    kind: StreamKind,
) -> Result<(Sender, Receiver), MessageError> {
    let (mut send, recv) = connection.open_bi().await.map_err(broken)?;
    let _ = send.set_priority(BEFORE_MEDIA);
    let mut head = BytesMut::new();
    put_varint(&mut head, kind as u64);
    send.write_all(&head).await.map_err(broken)?;
    Ok((Sender { stream: send }, Receiver::new(recv)))
}

/// Takes a stream that the peer opened and reads what it is for.
pub async fn accept(
    send: SendStream,
    recv: RecvStream,
) -> Result<(StreamKind, Sender, Receiver), MessageError> {
    let mut receiver = Receiver::new(recv);
    let kind = loop {
        if let Some(kind) = get_varint(&mut receiver.buffer) {
            break StreamKind::try_from(kind)?;
        }
        if !receiver.fill().await? {
            return Err(broken("it ended before it began"));
        }
    };
    let _ = send.set_priority(BEFORE_MEDIA);
    Ok((kind, Sender { stream: send }, receiver))
}

/// The sending half.
#[derive(Debug)]
pub struct Sender {
    stream: SendStream,
}

impl Sender {
    /// The QUIC stream id: what group streams name their subscription by.
    pub fn id(&self) -> u64 {
        quinn::VarInt::from(self.stream.id()).into_inner()
    }

    /// Sends one message.
    pub async fn send(&mut self, kind: u64, body: &Bytes) -> Result<(), MessageError> {
        self.write(kind, body, MAX_MESSAGE).await
    }

    /// Sends one JSON message.
    pub async fn send_json<T: Serialize>(&mut self, message: &T) -> Result<(), MessageError> {
        let body = serde_json::to_vec(message)?;
        self.write(JSON, &body, MAX_JSON).await
    }

    async fn write(&mut self, kind: u64, body: &[u8], bound: usize) -> Result<(), MessageError> {
        if body.len() > bound {
            return Err(MessageError::TooLong { length: body.len(), bound });
        }
        self.stream.write_all(&encode_message(kind, body)).await.map_err(broken)
    }

    /// Nothing more will be sent.
    pub fn finish(&mut self) {
        let _ = self.stream.finish();
    }

    /// Waits until the peer has everything, or stops reading.
    pub async fn delivered(&mut self) {
        let _ = self.stream.stopped().await;
    }
}

/// The only message kind on session, control and hand-off streams.
pub const JSON: u64 = 0x40;

/// The receiving half.
#[derive(Debug)]
pub struct Receiver {
    stream: RecvStream,
    buffer: BytesMut,
}

impl Receiver {
    fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// The next message; `None` at the end of the stream.
    pub async fn receive(&mut self) -> Result<Option<Message>, MessageError> {
        self.receive_bounded(MAX_MESSAGE).await
    }

    /// The next JSON message; `None` at the end of the stream.
    pub async fn receive_json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, MessageError> {
        match self.receive_bounded(MAX_JSON).await? {
            None => Ok(None),
            Some(message) if message.kind == JSON => {
                Ok(Some(serde_json::from_slice(&message.body)?))
            }
            Some(message) => {
                Err(Malformed::Unknown { what: "message kind", value: message.kind }.into())
            }
        }
    }

    async fn receive_bounded(&mut self, bound: usize) -> Result<Option<Message>, MessageError> {
        let decoder = MessageDecoder::new(bound);
        loop {
            if let Some(message) = decoder.decode(&mut self.buffer)? {
                return Ok(Some(message));
            }
            if !self.fill().await? {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(Malformed::Truncated("message").into())
                };
            }
        }
    }

    async fn fill(&mut self) -> Result<bool, MessageError> {
        match self.stream.read_chunk(MAX_MESSAGE, true).await.map_err(broken)? {
            Some(chunk) => {
                self.buffer.extend_from_slice(&chunk.bytes);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}
