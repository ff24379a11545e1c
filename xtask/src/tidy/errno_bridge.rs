//! The kernel's error numbers stand in one file of the FUSE bridge, so that an error kind has one number.
//!
//! Tests may build one, to act the kernel's part.

use super::Finding;
use crate::lexer::words;
use crate::tree::Tree;

const ROOM: &str = "fuse-bridge";
const BRIDGE: &str = "fuse-bridge/src/errno.rs";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, views) in tree.rust().filter(|(file, _)| file.is_in(ROOM) && file.path != BRIDGE) {
        let named = views.code.match_indices("libc::E").map(|(at, _)| at).filter(|at| {
            let number = &views.code[at + "libc::".len()..];
            number.chars().take_while(|letter| letter.is_alphanumeric()).all(|letter| !letter.is_lowercase())
        });
        let built = words(&views.code, "Errno::");
        let message = format!("an errno outside {BRIDGE}: give the error a kind and convert it there");
        findings.extend(
            named
                .chain(built)
                .filter(|at| *at < file.tests_begin())
                .map(|at| Finding::at(file, at, message.clone())),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::said;
    use super::check;

    #[test]
    fn an_errno_outside_the_bridge_is_found() {
        let message = "an errno outside fuse-bridge/src/errno.rs: give the error a kind and convert it there";
        for text in ["fn a() -> i32 { libc::ENOENT }", "fn a() -> Errno { fuser::Errno::EIO }"] {
            assert_eq!(
                said(check, &[("fuse-bridge/src/errno.rs", text), ("under-store/src/a.rs", text)]),
                [""; 0]
            );
            assert_eq!(
                said(check, &[("fuse-bridge/src/a.rs", text)]),
                [format!("fuse-bridge/src/a.rs:1: {message}")]
            );
        }
    }

    #[test]
    fn an_errno_in_a_test_or_handed_on_is_fine() {
        let test = "#[cfg(test)]\nmod tests { fn a() { Errno::EIO } }";
        assert_eq!(said(check, &[("fuse-bridge/src/a.rs", test)]), [""; 0]);
        let text = "fn a(errno: Errno) -> libc::Elf32_Addr { reply.error(errno) } // libc::EIO";
        assert_eq!(said(check, &[("fuse-bridge/src/a.rs", text)]), [""; 0]);
    }
}
