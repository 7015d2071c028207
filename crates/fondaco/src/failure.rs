//! What a person is told when something fails: what happened, a hint, and an exit code.

use fondaco_agent::{AgentError, RepositoryError};
use fondaco_crypto::EntityId;
use fondaco_issuer::IssuerError;
use fondaco_lcp::Refusal;
use fondaco_ledger::Refusal as LedgerRefusal;
use fondaco_storage_host::ServiceError;
use fondaco_store::{CopyError, FileError, KeyError};
use fondaco_transport::TransportError;
use std::fmt;
use std::process::ExitCode;

/// How a failed command ends. The numbers are part of the command's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Anything without a code of its own.
    Other = 1,
    /// The arguments do not make sense; clap uses the same.
    Usage = 2,
    /// Something named does not exist.
    NotFound = 3,
    /// Another process holds what is needed.
    Locked = 4,
    /// There is not enough money.
    Funds = 5,
    /// A peer cannot be reached.
    Unreachable = 6,
    /// Data or a proof is not what it should be.
    Verification = 8,
    /// Somebody stopped it; what a shell says of a program that Ctrl-C ended.
    Interrupted = 130,
}

impl Code {
    /// Returns the code of several failures: that of the gravest, so that one which waiting mends hides none that it does not.
    pub(crate) fn gravest(codes: impl IntoIterator<Item = Self>) -> Self {
        codes.into_iter().max_by_key(|code| code.gravity()).unwrap_or(Self::Other)
    }

    /// Waiting mends the first two.
    const fn gravity(self) -> u8 {
        match self {
            Self::Unreachable => 0,
            Self::Locked => 1,
            Self::Other => 2,
            Self::NotFound => 3,
            Self::Usage => 4,
            Self::Funds => 5,
            Self::Verification => 6,
            Self::Interrupted => 7,
        }
    }
}

/// Why a command failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    what: String,
    hint: Option<String>,
    code: Code,
    /// The key that the account has now, if that is why.
    moved_to: Option<EntityId>,
    /// The symbol and the issuer of the currency that it is about, if it is about one.
    of: Option<Box<(String, String)>>,
}

impl Failure {
    /// Says it in other words; what to do about it stays.
    pub(crate) fn saying(mut self, what: String) -> Self {
        self.what = what;
        self
    }

    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, code: Code::Other, moved_to: None, of: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says of which currency it is: its symbol, and its issuer's key.
    pub(crate) fn of(mut self, currency: &str, issuer: &str) -> Self {
        self.of = Some(Box::new((currency.to_owned(), issuer.to_owned())));
        self
    }

    pub(crate) const fn code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// Returns what is wrong with the arguments, as the library that reads them writes it: a paragraph that says so, one
    /// with what was meant perhaps, and one that shows how the command is used.
    pub(crate) fn of_usage(text: &str) -> Self {
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let paragraphs: Vec<String> = text.split("\n\n").map(one_line).collect();
        let find = |start: &str| paragraphs.iter().find_map(|text| text.strip_prefix(start));
        let what = find("error: ").unwrap_or("no command is named");
        let tip = find("tip: ").map(|tip| format!("{tip}. ")).unwrap_or_default();
        let usage = paragraphs.iter().find(|text| text.starts_with("Usage: "));
        let usage = usage.map_or("`fondaco help` shows how it is used", String::as_str);
        Self::new(what).code(Code::Usage).hint(format!("{tip}{usage}"))
    }

    /// Puts what was being done in front.
    pub(crate) fn during(mut self, doing: &str) -> Self {
        self.what = format!("{doing}: {}", self.what);
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code as u8)
    }

    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    pub(crate) fn what_to_do(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) const fn moved_to(&self) -> Option<EntityId> {
        self.moved_to
    }

    /// Returns the issuer's key of the currency that it is about, if that was said.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.of.as_deref().map(|(_, issuer)| issuer.as_str())
    }

    pub(crate) const fn ends_with(&self) -> Code {
        self.code
    }

    /// Returns the failure as a line of JSON.
    pub(crate) fn json(&self) -> String {
        let Self { what, hint, code, of, .. } = self;
        let mut line = serde_json::json!({ "error": what, "hint": hint, "code": *code as u8 });
        if let Some((currency, issuer)) = of.as_deref() {
            line["currency"] = currency.as_str().into();
            line["issuer"] = issuer.as_str().into();
        }
        line.to_string()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n Hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        let failure = Self::new(error.to_string()).code(Code::Unreachable);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// A file that another process holds has a code of its own.
const fn file_code(error: &FileError) -> Code {
    match error {
        FileError::Locked { .. } => Code::Locked,
        FileError::Missing { .. } => Code::NotFound,
        FileError::Full { .. } | FileError::ReadOnly { .. } | FileError::Other { .. } => {
            Code::Other
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::new(error.to_string()).hint(error.hint()).code(file_code(&error))
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let code = match &error {
            KeyError::File(file) => file_code(file),
            // Not `Locked`: who is told that waits and tries the same again.
            KeyError::WrongPassphrase { .. }
            | KeyError::Damaged { .. }
            | KeyError::Foreign { .. }
            | KeyError::TooMuchWork { .. } => Code::Verification,
            KeyError::Exists { .. } | KeyError::OpenToOthers { .. } | KeyError::Newer { .. } => {
                Code::Other
            }
        };
        Self::new(error.to_string()).hint(error.hint()).code(code)
    }
}

impl From<IssuerError> for Failure {
    fn from(error: IssuerError) -> Self {
        let failure = Self::new(error.to_string()).hint(error.hint());
        match &error {
            IssuerError::File(file) => failure.code(file_code(file)),
            IssuerError::NoIssuer { .. } => failure.code(Code::NotFound),
            IssuerError::Open(error) if !error.is_transient() => failure.code(Code::Verification),
            IssuerError::Copy(CopyError::Journal { source, .. }) if !source.is_transient() => {
                failure.code(Code::Verification)
            }
            IssuerError::Copy(CopyError::File(file)) => failure.code(file_code(file)),
            IssuerError::OtherKey { .. }
            | IssuerError::Lost { .. }
            | IssuerError::Books(_)
            | IssuerError::Halted => failure.code(Code::Verification),
            _ => failure,
        }
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        let failure = Self::new(error.to_string()).hint(error.hint());
        match &error {
            ServiceError::File(file) => failure.code(file_code(file)),
            _ => failure,
        }
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        let code = match &error {
            // What waiting mends.
            AgentError::Transport(_)
            | AgentError::NotYet(_)
            | AgentError::Late { .. }
            | AgentError::Unreadable { spent: false, over: false, caught: false, .. } => {
                Code::Unreachable
            }
            AgentError::Unreadable { spent: false, over: true, caught: false, .. } => {
                Code::NotFound
            }
            AgentError::Issuer(Refusal::Ledger { .. })
            | AgentError::HoldSpent { .. }
            | AgentError::OverBudget { .. }
            | AgentError::Unreadable { spent: true, .. } => Code::Funds,
            AgentError::Caught { .. }
            | AgentError::OlderBook { .. }
            | AgentError::Unreadable { spent: false, caught: true, .. }
            | AgentError::AuditLog { .. }
            | AgentError::Damaged { .. } => Code::Verification,
            AgentError::Locked { .. } => Code::Locked,
            AgentError::Repository(error) => repository_code(error),
            AgentError::Issuer(_)
            | AgentError::Provider { .. }
            | AgentError::Broker { .. }
            | AgentError::Misanswer { .. }
            | AgentError::ContractFull { .. }
            | AgentError::PaidForNothing { .. }
            | AgentError::Unpaid { .. }
            | AgentError::Overstated { .. }
            | AgentError::Placement { .. }
            | AgentError::Store(_)
            | AgentError::Invalid { .. } => Code::Other,
        };
        let moved_to = match &error {
            AgentError::Issuer(
                Refusal::Rotated { to }
                | Refusal::Ledger { refusal: LedgerRefusal::KeyRotated { to } },
            ) => Some(*to),
            _ => None,
        };
        Self { what: error.to_string(), hint: error.hint(), code, moved_to, of: None }
    }
}

const fn repository_code(error: &RepositoryError) -> Code {
    match error {
        RepositoryError::NoSnapshot { .. } | RepositoryError::NoEntry { .. } => Code::NotFound,
        RepositoryError::ManySnapshots { .. } => Code::Usage,
        RepositoryError::OtherPassword => Code::Verification,
        RepositoryError::Unwritable { .. } | RepositoryError::Other(_) => Code::Other,
    }
}

/// Turns an I/O error into a failure that names the path.
pub(crate) fn io(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
    let failure = Failure::new(format!("cannot {doing} {}: {error}", path.display()));
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            failure.hint("check who owns it, or name another place")
        }
        std::io::ErrorKind::NotFound => failure.code(Code::NotFound).hint("check the spelling"),
        std::io::ErrorKind::IsADirectory => failure.hint("it is a folder: name a file in it"),
        std::io::ErrorKind::StorageFull => failure.hint("free some space, then run this again"),
        std::io::ErrorKind::ReadOnlyFilesystem => failure.hint("name a place that can be written"),
        _ => failure,
    }
}
