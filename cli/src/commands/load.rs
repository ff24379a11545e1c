//! `forebay load`: brings what lies at and below some paths into the cache, or has just its names known.

use std::io::Read;
use std::path::Path;

use forebay_client::{ClientError, PathDefect, Submitted};
use forebay_types::limits::LOAD_PATHS_MAX;
use forebay_types::{ErrorKind, NamespacePath};

use super::job;
use super::session::{Session, TypedPath};
use crate::args::{GlobalArguments, LoadArguments, OutputFormat};
use crate::failure::Failure;
use crate::output;

/// What is to be loaded, and where each path stands.
#[derive(Debug)]
struct Wanted {
    paths: Vec<NamespacePath>,
    /// Those that were typed with a slash at the end. In a manifest a slash means nothing: to look up each of its lines
    /// first would take longer than the load.
    directories: Vec<TypedPath>,
    /// How many of them were typed; the others are the manifest's.
    typed: usize,
    /// The line of each path of the manifest, from 1.
    lines: Vec<u64>,
    /// What the manifest is called.
    manifest: String,
}

/// `forebay load`.
pub(crate) async fn load(global: &GlobalArguments, arguments: LoadArguments) -> Result<(), Failure> {
    let wanted = Wanted::read(&arguments)?;
    let session = Session::begin(global).await?;
    for path in &wanted.directories {
        path.resolve(&session.client).await?;
    }
    let submitted = match arguments.metadata_only {
        true => session.client.submit_metadata_load(&wanted.paths).await,
        false => session.client.submit_load(&wanted.paths).await,
    };
    let id = match submitted.map_err(|error| failure(&error, arguments.metadata_only))? {
        Submitted::Begun(id) => id,
        Submitted::Refused(defects) => return Err(wanted.refused(&defects)),
    };
    if !arguments.detach {
        return job::watch(global, &session.client, id).await;
    }
    match global.output {
        OutputFormat::Json => output::print_json(&job::document(&job::look(&session.client, id).await?)),
        OutputFormat::Text => {
            let number = id.get();
            let does = if arguments.metadata_only { "lists" } else { "loads" };
            output::print_line(&format!("job {number} {does}; watch it with `forebay job watch {number}`"))
        }
    }
}

/// Why nothing was begun. A master of an earlier release does not know loads of metadata: it refuses the call.
fn failure(error: &ClientError, metadata_only: bool) -> Failure {
    if !metadata_only {
        return Failure::client("load", error);
    }
    let remedy =
        "if the master is of an earlier release, update it; `forebay fs refresh -r PATH` lists as well";
    Failure::client_or("load metadata", error, &[ErrorKind::Unsupported], remedy)
}

impl Wanted {
    fn read(arguments: &LoadArguments) -> Result<Self, Failure> {
        let typed = arguments.paths.iter().map(TypedPath::parse).collect::<Result<Vec<_>, _>>()?;
        let mut wanted = Self {
            paths: typed.iter().map(|typed| typed.path.clone()).collect(),
            typed: typed.len(),
            directories: typed.into_iter().filter(|typed| typed.needs_directory).collect(),
            lines: Vec::new(),
            manifest: String::new(),
        };
        if let Some(file) = &arguments.manifest {
            let is_stdin = file == Path::new("-");
            wanted.manifest = if is_stdin { "standard input".to_owned() } else { file.display().to_string() };
            let bytes = if is_stdin {
                let mut bytes = Vec::new();
                std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
            } else {
                std::fs::read(file)
            };
            let bytes = bytes.map_err(|error| {
                Failure::new(format!("cannot read the manifest ({}): {error}", wanted.manifest))
            })?;
            wanted.add_lines(&bytes)?;
        }
        if wanted.paths.len() as u64 > LOAD_PATHS_MAX {
            return Err(Failure::new(format!(
                "cannot load {} paths at once: {LOAD_PATHS_MAX} is the limit; name directories, or load in parts",
                wanted.paths.len()
            )));
        }
        Ok(wanted)
    }

    /// Takes a manifest: one path a line; empty lines and those that begin with `#` are passed over.
    fn add_lines(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        for (number, line) in (1_u64..).zip(bytes.split(|byte| *byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let wrong =
                |why: String| Failure::new(format!("cannot load ({}, line {number}): {why}", self.manifest));
            let text = std::str::from_utf8(line).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
            let path = text
                .parse()
                .map_err(|error| wrong(format!("{error}; write one path of the namespace a line")))?;
            self.paths.push(path);
            self.lines.push(number);
        }
        Ok(())
    }

    /// Names each path that cannot be loaded, and its line.
    fn refused(&self, defects: &[PathDefect]) -> Failure {
        let sentence = |defect: &PathDefect| {
            let shown = self.paths.get(defect.index).map_or_else(String::new, ToString::to_string);
            let line = defect.index.checked_sub(self.typed).and_then(|index| self.lines.get(index));
            match line {
                Some(line) => {
                    format!("cannot load {shown} ({}, line {line}): {}", self.manifest, defect.reason)
                }
                None => format!("cannot load {shown}: {}", defect.reason),
            }
        };
        let advice = if defects.iter().any(|defect| defect.kind == ErrorKind::NotFound) {
            "; nothing was begun; `forebay fs ls` shows what is there"
        } else {
            "; nothing was begun"
        };
        let mut sentences: Vec<_> = defects.iter().map(sentence).collect();
        if let Some(last) = sentences.last_mut() {
            last.push_str(advice);
        }
        Failure::lines(&sentences)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(manifest: &[u8]) -> Result<Wanted, Failure> {
        let mut wanted = Wanted {
            paths: Vec::new(),
            directories: Vec::new(),
            typed: 0,
            lines: Vec::new(),
            manifest: "list".to_owned(),
        };
        wanted.add_lines(manifest).map(|()| wanted)
    }

    #[test]
    fn comments_and_empty_lines_are_passed_over_and_the_order_is_kept() {
        let wanted = wanted(b"\xef\xbb\xbf# begin\n/b\r\n\n/a b\n#/c\n/b").expect("legal");
        let shown: Vec<_> = wanted.paths.iter().map(ToString::to_string).collect();
        assert_eq!(
            (shown, &wanted.lines[..]),
            (vec!["/b".into(), "/a b".into(), "/b".to_owned()], &[2, 4, 6][..])
        );
    }

    #[test]
    fn a_line_that_is_no_path_is_named_with_its_number() {
        for (manifest, line) in
            [(&b"/a\nb\n"[..], "line 2"), (b"/a\n#\n/\xff", "line 3"), (b"/a/../b", "line 1")]
        {
            let message = wanted(manifest).expect_err("no path").to_string();
            assert!(message.contains(line) && message.contains("list"), "{message}");
        }
    }

    #[test]
    fn a_path_that_does_not_exist_is_named_with_its_line() {
        let wanted = wanted(b"/a\n\n/b\n").expect("legal");
        let defect =
            PathDefect { index: 1, kind: ErrorKind::NotFound, reason: "/b does not exist".to_owned() };
        let message = wanted.refused(&[defect]).to_string();
        assert!(message.contains("/b (list, line 3): /b does not exist"), "{message}");
    }
}
