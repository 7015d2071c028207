//! Why a request is not done, as its client and the owner are told.

use crate::{LocksError, StoreError, Trouble};
use hyper::StatusCode;

/// Why a request is not done. Listed by precedence; a refusal changes nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The request names another host: a page in a browser may have been led here (DNS rebinding).
    #[error("this is not the host {host:?}")]
    Host {
        /// What it says.
        host: String,
    },
    /// The request does not show the token.
    #[error("the password of the URL is not this gateway's token")]
    Token,
    /// The path names nothing that can exist.
    #[error("there is no such place in a repository")]
    Place,
    /// The place has no such method.
    #[error("this can only be done with {allowed}")]
    Method {
        /// Those that it has.
        allowed: &'static str,
    },
    /// The repository is made by `POST /?create=true` alone.
    #[error("a repository is made by POST /?create=true")]
    NoCreate,
    /// The repository is append-only.
    #[error("the repository is append-only")]
    AppendOnly,
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// The range names no byte of the file.
    #[error("the file has {length} bytes, and not those")]
    Range {
        /// How many bytes it has.
        length: u64,
    },
    /// The body is longer than what is put there may be.
    #[error("what is put here has at most {bytes_max} bytes")]
    TooLong {
        /// How long it may be.
        bytes_max: u64,
    },
    /// There was no room for the body in time.
    #[error("too much is being stored at once")]
    Busy,
    /// The body did not come in time.
    #[error("the body came too slowly")]
    Slow,
    /// The body ended before its end.
    #[error("the body was cut off: {why}")]
    Cut {
        /// What was noticed.
        why: String,
    },
    /// The content is not what its name says.
    #[error("the content does not have the SHA-256 that it is named by")]
    Content,
    /// There is another configuration.
    #[error("the repository has another configuration")]
    Configured,
    /// The locks cannot be kept.
    #[error(transparent)]
    Locks(#[from] LocksError),
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    /// Returns the status that says it.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Host { .. } => StatusCode::MISDIRECTED_REQUEST,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Place | Self::Missing => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoCreate | Self::Cut { .. } | Self::Content => StatusCode::BAD_REQUEST,
            Self::AppendOnly | Self::Configured => StatusCode::FORBIDDEN,
            Self::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Locks(LocksError::TooMany) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Locks(LocksError::Write(_) | LocksError::Folder { .. }) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Store(error) => match error.trouble {
                Trouble::Full => StatusCode::INSUFFICIENT_STORAGE,
                Trouble::Away => StatusCode::SERVICE_UNAVAILABLE,
                Trouble::Wrong => StatusCode::BAD_GATEWAY,
                Trouble::Own => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }

    /// Returns what to do about it, where that is known.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Host { .. } => {
                "name the host by its IP address, or start the gateway with --name"
            }
            Self::Token => "take the URL that `fondaco gateway restic` printed",
            Self::Place => "there is one repository here, at the root: rest:http://…/",
            Self::AppendOnly => "start the gateway without --append-only for `forget` and `prune`",
            Self::TooLong { .. } => "make smaller packs: `restic --pack-size 64`",
            Self::Busy | Self::Slow => "use fewer connections: `restic -o rest.connections=2`",
            Self::Configured => "take `restic` with the password of the repository that is here",
            Self::Locks(error) => return Some(error.hint()),
            Self::Store(error) => return error.hint.clone(),
            Self::Method { .. }
            | Self::NoCreate
            | Self::Missing
            | Self::Range { .. }
            | Self::Cut { .. }
            | Self::Content => return None,
        };
        Some(hint.to_owned())
    }

    /// Returns whether the owner is to be told, and not only the client.
    pub(crate) const fn is_loud(&self) -> bool {
        match self {
            Self::Locks(_) | Self::Store(_) | Self::Content | Self::Busy => true,
            Self::Host { .. }
            | Self::Token
            | Self::Place
            | Self::Method { .. }
            | Self::NoCreate
            | Self::AppendOnly
            | Self::Missing
            | Self::Range { .. }
            | Self::TooLong { .. }
            | Self::Slow
            | Self::Cut { .. }
            | Self::Configured => false,
        }
    }

    /// Returns whether what is left of the body is not worth reading: the connection ends.
    pub(crate) const fn closes(&self) -> bool {
        match self {
            Self::Host { .. }
            | Self::Token
            | Self::Place
            | Self::Method { .. }
            | Self::NoCreate
            | Self::AppendOnly
            | Self::TooLong { .. }
            | Self::Busy
            | Self::Slow
            | Self::Cut { .. } => true,
            Self::Missing
            | Self::Range { .. }
            | Self::Content
            | Self::Configured
            | Self::Locks(_)
            | Self::Store(_) => false,
        }
    }
}
