//! A holder's client: one connection to one issuer, whose key is pinned.
//!
//! Small on purpose. It sends what it is told and reads one answer; counters, repetition and doubt are its caller's:
//! a message whose answer was lost is sent again, unchanged.

use crate::{
    ClientTls, SERVICE_PATH,
    soap::{self, Form, REPLY_BYTES_MAX, Reply, Unreadable},
};
use fondaco_codec::Text;
use fondaco_crypto::EntityId;
use fondaco_lcp::classic::{Ask, AskBody};
use fondaco_units::{Amount, Duration, Scale};
use rustls::HandshakeKind;
use std::{io, net::SocketAddr};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

/// How long an answer may take beyond what it was asked to wait.
const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
/// The longest line of an answer's header, and the most lines.
const LINE_BYTES_MAX: usize = 8 << 10;
const LINES_MAX: usize = 64;

/// Why there is no answer. Listed by precedence.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection failed, or took too long. Whether the message was done is not known: send it again.
    #[error("the connection to the issuer failed: {source}")]
    Connection {
        /// What the system, or TLS, said.
        #[from]
        source: io::Error,
    },
    /// What came is no HTTP answer that is understood here.
    #[error("the issuer did not answer in HTTP/1.1 with a length")]
    Http,
    /// What came is no answer of the protocol.
    #[error("{why}")]
    Unreadable {
        /// Why.
        #[from]
        why: Unreadable,
    },
}

impl ClientError {
    /// Returns whether the same message can be answered when it is sent again.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Connection { .. } => true,
            Self::Http | Self::Unreadable { .. } => false,
        }
    }
}

/// A connection of a holder to its issuer.
#[derive(Debug)]
pub struct SoapClient {
    stream: BufReader<TlsStream<TcpStream>>,
    address: SocketAddr,
    scale: Scale,
    form: Form,
}

impl SoapClient {
    /// Dials the issuer at `address`, for a currency of `scale`.
    ///
    /// # Errors
    ///
    /// Nobody answers, or not with the key that `tls` has pinned. A server that refuses the holder's key says so only
    /// after this: the first message fails then.
    pub async fn connect(
        tls: &ClientTls,
        address: SocketAddr,
        scale: Scale,
    ) -> Result<Self, ClientError> {
        let stream =
            timeout(ANSWER_TIMEOUT, tls.stream(address)).await.map_err(io::Error::from)??;
        Ok(Self { stream: BufReader::new(stream), address, scale, form: Form::Encoded })
    }

    /// Writes literal documents from now on.
    pub fn literal(&mut self) {
        self.form = Form::Literal;
    }

    /// Returns whether the connection came from an earlier one of the same holder.
    pub fn is_resumed(&self) -> bool {
        self.stream.get_ref().get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Pays `to`, under the message counter `counter`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn transfer(
        &mut self,
        counter: u32,
        to: EntityId,
        amount: Amount,
        order: Text<64>,
    ) -> Result<Reply, ClientError> {
        let ask = Ask { counter, body: AskBody::Transfer { to, amount, order } };
        self.ask(&ask, Duration::ZERO).await
    }

    /// Asks what arrived, for up to `wait`, under the message counter `counter`.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub async fn query(&mut self, counter: u32, wait: Duration) -> Result<Reply, ClientError> {
        self.ask(&Ask { counter, body: AskBody::Query }, wait).await
    }

    async fn ask(&mut self, ask: &Ask, wait: Duration) -> Result<Reply, ClientError> {
        let body = soap::write(ask, wait, self.form, self.scale);
        let allowed = ANSWER_TIMEOUT + std::time::Duration::from_millis(wait.milliseconds());
        let answered = timeout(allowed, self.post(&body)).await.map_err(io::Error::from)?;
        let (_, body) = answered?;
        Ok(soap::read_reply(&body, self.scale)?)
    }

    /// Posts a body and returns the status and the body of the answer.
    ///
    /// # Errors
    ///
    /// The connection fails, or the answer is not understood.
    pub async fn post(&mut self, body: &[u8]) -> Result<(u16, Vec<u8>), ClientError> {
        let head = format!(
            "POST {SERVICE_PATH} HTTP/1.1\r\nHost: {}\r\nContent-Type: text/xml; charset=utf-8\r\n\
             SOAPAction: \"\"\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&request).await?;
        self.stream.get_mut().flush().await?;
        self.answer().await
    }

    /// Reads one answer.
    async fn answer(&mut self) -> Result<(u16, Vec<u8>), ClientError> {
        let status = self.line().await?;
        let status = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        let status: u16 = status.and_then(|digits| digits.parse().ok()).ok_or(ClientError::Http)?;
        let mut length = None;
        for _ in 0..LINES_MAX {
            let line = self.line().await?;
            if line.is_empty() {
                let length = length.filter(|it| *it <= REPLY_BYTES_MAX).ok_or(ClientError::Http)?;
                let mut body = vec![0; length];
                self.stream.read_exact(&mut body).await?;
                return Ok((status, body));
            }
            let (name, value) = line.split_once(':').ok_or(ClientError::Http)?;
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok();
            }
        }
        Err(ClientError::Http)
    }

    async fn line(&mut self) -> Result<String, ClientError> {
        let mut line = String::new();
        let read = (&mut self.stream).take(LINE_BYTES_MAX as u64).read_line(&mut line).await?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None if read == 0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            None => Err(ClientError::Http),
        }
    }
}
