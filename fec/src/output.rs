//! How commands speak: results on standard output, as text or as one JSON object a line; messages and progress on standard error; files
//! written whole or not at all; one place for exit codes.

use core::time::Duration;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use clap::error::ErrorKind;
use serde::Serialize;

use crate::error::{Error, Plain};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// The input was bad, or a run or a check failed.
    Failed = 1,
    /// The command was called in a way it does not know.
    Usage = 2,
    /// The user stopped it.
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}

impl From<&Error> for Exit {
    /// A reader that closed our output has what it wanted (`fec classify *.jpg | head -1`).
    fn from(error: &Error) -> Exit {
        match error {
            Error::OutputClosed => Exit::Ok,
            Error::UnknownName { .. } => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

/// What standard output carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A command's standard output and standard error.
pub struct Output {
    format: Format,
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    /// Whether progress may be drawn and redrawn on standard error.
    interactive: bool,
    colour: bool,
}

impl Output {
    /// The process's own streams. Colour on a terminal alone, and not where `NO_COLOR` is set to anything or `TERM` is `dumb`.
    pub fn new(format: Format) -> Output {
        let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        Output {
            format,
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            interactive: io::stderr().is_terminal() && !dumb,
            colour: io::stdout().is_terminal() && !set("NO_COLOR") && !dumb,
        }
    }

    /// Streams of one's own, e.g. of a test; neither colour nor a progress bar.
    pub fn with_streams(
        format: Format,
        stdout: impl Write + Send + 'static,
        stderr: impl Write + Send + 'static,
    ) -> Output {
        Output {
            format,
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            interactive: false,
            colour: false,
        }
    }

    /// What standard output carries.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether standard error is a terminal on which progress may be drawn and redrawn.
    pub fn interactive(&self) -> bool {
        self.interactive
    }

    /// Whether text may be coloured.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Lines of text, where text is asked for; nothing under `--json`. Control characters are replaced.
    pub fn text(&mut self, lines: impl core::fmt::Display) -> Result<(), Error> {
        if self.format == Format::Json {
            return Ok(());
        }
        // Names of files and labels are other people's: they must not drive the terminal.
        let plain = |c: char| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        };
        let mut text: String = lines.to_string().chars().map(plain).collect();
        text.push('\n');
        self.write(text.as_bytes())
    }

    /// An object as one line of JSON, under `--json`; nothing else. Keys come in the order of the struct's fields.
    pub fn json(&mut self, object: &impl Serialize) -> Result<(), Error> {
        if self.format != Format::Json {
            return Ok(());
        }
        let mut line = serde_json::to_vec(object).map_err(|e| Error::Encode {
            what: "the JSON result",
            reason: e.to_string(),
        })?;
        line.push(b'\n');
        self.write(&line)
    }

    /// Bytes as they are, e.g. a file written to `-`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self
            .stdout
            .write_all(bytes)
            .and_then(|()| self.stdout.flush());
        written.map_err(|source| match source.kind() {
            io::ErrorKind::BrokenPipe => Error::OutputClosed,
            _ => Error::Write {
                path: "standard output".into(),
                source,
            },
        })
    }

    /// A message of one line on standard error; control characters in it are replaced. A standard error that cannot be written is no reason
    /// to stop.
    pub fn message(&mut self, line: impl core::fmt::Display) {
        let _ = writeln!(self.stderr, "{}", Plain(line));
    }

    /// `error: …` on standard error, and the exit code it means. A closed output says nothing.
    pub fn error(&mut self, error: &Error) -> Exit {
        let exit = Exit::from(error);
        if exit != Exit::Ok {
            self.message(format_args!("error: {error}"));
        }
        exit
    }

    /// Begins to show the progress of `total` items: a bar with the time left on a terminal, else a line now and then.
    pub fn progress(&self, what: &str, total: u64) -> Progress {
        let bar = self.interactive.then(|| {
            let style = indicatif::ProgressStyle::with_template(
                "{msg} {wide_bar} {human_pos}/{human_len}  {per_sec}  {eta} left",
            );
            let bar = indicatif::ProgressBar::new(total).with_message(what.to_owned());
            match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Progress {
            what: Plain(what).to_string(),
            total,
            done: 0,
            started: Instant::now(),
            said: Instant::now(),
            bar,
        }
    }
}

/// Between two lines of progress where there is no terminal.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// How far a long run has come.
pub struct Progress {
    what: String,
    total: u64,
    done: u64,
    started: Instant,
    said: Instant,
    bar: Option<indicatif::ProgressBar>,
}

impl Progress {
    /// `items` more are done.
    pub fn advance(&mut self, out: &mut Output, items: u64) {
        self.done += items;
        match &self.bar {
            Some(bar) => bar.set_position(self.done),
            None if self.said.elapsed() >= SAY_EVERY => {
                self.said = Instant::now();
                out.message(self.line(self.started.elapsed()));
            }
            None => {}
        }
    }

    /// A message that does not tear the bar.
    pub fn message(&self, out: &mut Output, line: impl core::fmt::Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| out.message(line)),
            None => out.message(line),
        }
    }

    /// Removes the bar.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, elapsed: Duration) -> String {
        let Progress {
            what, total, done, ..
        } = self;
        let per_item = elapsed.as_secs_f64() / (*done).max(1) as f64;
        let left = per_item * total.saturating_sub(*done) as f64;
        format!("{what}: {done} of {total}, about {left:.0} s left")
    }
}

/// Writes a file whole or not at all: into a temporary file beside it, then renamed over it. What is there and no regular file (a device, a
/// pipe) is written to as it is. Folders are not created.
pub fn write_atomically(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), Error> {
    let path = path.as_ref();
    let fail = |source: io::Error| match source.kind() {
        io::ErrorKind::IsADirectory => Error::IsFolder { path: path.into() },
        _ => Error::Write {
            path: path.into(),
            source,
        },
    };
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => return Err(Error::IsFolder { path: path.into() }),
        Ok(there) if !there.is_file() => {
            let mut device = std::fs::File::options()
                .write(true)
                .open(path)
                .map_err(fail)?;
            return device.write_all(bytes).map_err(fail);
        }
        _ => {}
    }
    let folder = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".fec-").suffix(".part");
    // A temporary file is private by default; the result is an ordinary file under the user's umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound if !folder.exists() => Error::Missing {
            path: folder.into(),
        },
        _ => fail(e),
    })?;
    file.write_all(bytes).map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// Ends a call that clap did not take: help and version as clap prints them, a mistake as one line, like every other error.
pub fn usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // Nobody is left to tell when the stream is closed.
        let _ = error.print();
        return if error.use_stderr() {
            Exit::Usage
        } else {
            Exit::Ok
        };
    }
    let text = error.render().to_string();
    let said = text
        .split("\n\n")
        .take_while(|part| !part.starts_with("Usage:") && !part.starts_with("For more information"))
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let line = said.collect::<Vec<_>>().join("; ");
    Output::new(Format::Text).message(format_args!("{line}; --help lists all options"));
    Exit::Usage
}

/// Makes a folder and those above it, where they are not there.
///
/// # Errors
/// [`Error::Write`], or [`Error::NotAFolder`] where a file is in the way.
pub fn make_folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            Error::NotAFolder { path: path.into() }
        }
        _ => Error::Write {
            path: path.into(),
            source,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Serialize)]
    struct Row {
        file: &'static str,
        top: [u32; 2],
    }

    const ROW: Row = Row {
        file: "a\nb",
        top: [1, 2],
    };

    #[test]
    fn json_is_one_object_a_line_and_text_stays_away() {
        let (stdout, stderr) = (Shared::default(), Shared::default());
        let mut out = Output::with_streams(Format::Json, stdout.clone(), stderr.clone());
        out.text("for people").unwrap();
        out.json(&ROW).unwrap();
        out.message("a\nb");
        assert_eq!(stdout.text(), "{\"file\":\"a\\nb\",\"top\":[1,2]}\n");
        assert_eq!(stderr.text(), "a\u{fffd}b\n");
        let stdout = Shared::default();
        let mut out = Output::with_streams(Format::Text, stdout.clone(), io::sink());
        out.json(&ROW).unwrap();
        out.text("for people").unwrap();
        assert_eq!(stdout.text(), "for people\n");
    }

    #[test]
    fn a_closed_output_is_success_and_a_full_one_is_not() {
        let stderr = Shared::default();
        let run = |kind| {
            let mut out = Output::with_streams(Format::Text, Failing(kind), stderr.clone());
            let error = out.text("x").unwrap_err();
            out.error(&error)
        };
        assert_eq!(run(io::ErrorKind::BrokenPipe), Exit::Ok);
        assert_eq!(stderr.text(), "");
        assert_eq!(run(io::ErrorKind::StorageFull), Exit::Failed);
        assert_eq!(
            stderr.text(),
            "error: standard output: cannot be written: no storage space\n"
        );
    }

    #[test]
    fn progress_without_a_terminal_tells_what_is_left() {
        let out = Output::with_streams(Format::Text, io::sink(), io::sink());
        let mut progress = out.progress("images", 100);
        progress.done = 25;
        let line = progress.line(Duration::from_secs(10));
        assert_eq!(line, "images: 25 of 100, about 30 s left");
        progress.finish();
    }

    #[test]
    fn a_file_is_written_whole_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("map.png");
        write_atomically(&path, b"first").unwrap();
        write_atomically(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        let error = write_atomically(dir.path(), b"x").unwrap_err();
        assert!(matches!(error, Error::IsFolder { .. }), "{error}");
        let error = write_atomically(dir.path().join("none/x"), b"x").unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_device_is_an_error_and_stays_a_device() {
        use std::os::unix::fs::FileTypeExt;
        let error = write_atomically("/dev/full", b"x").unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
        let kind = std::fs::metadata("/dev/full").unwrap().file_type();
        assert!(kind.is_char_device());
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_as_readable_as_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (ours, plain) = (dir.path().join("a"), dir.path().join("b"));
        write_atomically(&ours, b"x").unwrap();
        std::fs::write(&plain, b"x").unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
