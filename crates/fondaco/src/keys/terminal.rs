//! Ask a person something that must not be seen.

use crate::failure::{Code, Failure};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Write as _};
use zeroize::Zeroizing;

/// The most bytes of one answer.
const ANSWER_BYTES_MAX: usize = 1024;

/// The terminal of whoever started this, whatever became of standard input and output.
#[derive(Debug)]
pub(super) struct Terminal(File);

impl Terminal {
    /// Opens it, if there is one and somebody looks at it: standard error must be it.
    pub(super) fn open() -> Option<Self> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        File::options().read(true).write(true).open("/dev/tty").ok().map(Self)
    }

    /// Writes a line.
    pub(super) fn say(&mut self, line: &str) {
        let _ = writeln!(self.0, "{line}");
    }

    /// Asks for one line, and shows nothing of it.
    pub(super) fn ask(&mut self, question: &str) -> Result<Zeroizing<String>, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("the terminal failed: {error}"));
        let before = tcgetattr(&self.0).map_err(|error| failed(error.into()))?;
        let mut hidden = before.clone();
        // Byte by byte, so that Ctrl-C ends with the echo switched on again, not the process without it.
        hidden.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        hidden.input_modes |= InputModes::ICRNL;
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        let mut tty = self.0.try_clone().map_err(failed)?;
        tcsetattr(&self.0, OptionalActions::Now, &hidden).map_err(|error| failed(error.into()))?;
        let restore = Restore { terminal: &self.0, before };
        let _ = write!(tty, "{question}").and_then(|()| tty.flush());
        let answer = read_line(|byte| tty.read_exact(std::slice::from_mut(byte)));
        drop(restore);
        let _ = writeln!(tty);
        answer
    }
}

/// Gives the terminal its modes back.
struct Restore<'a> {
    terminal: &'a File,
    before: Termios,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Reads a line, with what a terminal lets a person do to it.
fn read_line(
    mut next: impl FnMut(&mut u8) -> std::io::Result<()>,
) -> Result<Zeroizing<String>, Failure> {
    let stopped = || Failure::new("nothing was typed").code(Code::Usage);
    // Never longer than this: a vector that grows leaves copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX));
    loop {
        let mut byte = Zeroizing::new(0);
        next(&mut byte).map_err(|_| stopped())?;
        match *byte {
            b'\r' | b'\n' => break,
            // Ctrl-C, and Ctrl-D on an empty line.
            3 => return Err(Failure::new("stopped at the terminal")),
            4 if line.is_empty() => return Err(stopped()),
            // Backspace takes a whole character: the bytes that go on one, then the one that begins it.
            8 | 0x7f => while line.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {},
            // Ctrl-U.
            0x15 => line.clear(),
            byte if line.len() < ANSWER_BYTES_MAX => line.push(byte),
            _ => return Err(Failure::new("the line is too long").code(Code::Usage)),
        }
    }
    let text = std::str::from_utf8(&line);
    let text = text.map_err(|_| Failure::new("the line is not UTF-8").code(Code::Usage))?;
    let mut answer = Zeroizing::new(String::with_capacity(text.len()));
    answer.push_str(text);
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_a_terminal_does() {
        let table: [(&[u8], Option<&str>); 9] = [
            (b"horse\n", Some("horse")),
            (b"horse\rrest", Some("horse")),
            (b"\n", Some("")),
            (b"hx\x7forse\n", Some("horse")),
            ("hü\u{7f}\x7f\x7fhorse\n".as_bytes(), Some("horse")),
            (b"wrong\x15horse\n", Some("horse")),
            (b"hor\x03", None),
            (b"\x04", None),
            (b"\xff\n", None),
        ];
        for (typed, outcome) in table {
            let mut typed = typed;
            let line = read_line(|byte| typed.read_exact(std::slice::from_mut(byte)));
            assert_eq!(line.ok().as_ref().map(|line| line.as_str()), outcome, "{typed:?}");
        }
        let mut long: &[u8] = &[b'x'; ANSWER_BYTES_MAX + 1];
        assert!(read_line(|byte| long.read_exact(std::slice::from_mut(byte))).is_err());
    }
}
