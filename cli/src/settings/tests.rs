//! The documents and the sample say what the binary does: each setting, each command, each flag.

use clap::CommandFactory;
use forebay_runtime::config::{Key, keys, resolve};

use super::*;
use crate::args::Arguments;

const SAMPLE: &str = include_str!("../../../docs/samples/forebay.toml");
const CONFIG: &str = include_str!("../../../docs/config.md");
const COMMANDS: &str = include_str!("../../../docs/cli.md");

/// The sections and settings of a file, those that stand behind a `#` included; prose is left out.
fn settings_in(sample: &str) -> impl Iterator<Item = &str> {
    let is_setting = |line: &&str| {
        line.starts_with('[') || line.split_once(" = ").is_some_and(|(name, _)| !name.contains([' ', '`']))
    };
    sample.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).filter(is_setting)
}

/// The same as `section.name`.
fn names_in(sample: &str) -> Vec<String> {
    let (mut section, mut names) = ("", Vec::new());
    for line in settings_in(sample) {
        match line.split_once(" = ") {
            Some((name, _)) => names.push(format!("{section}.{name}")),
            None => section = line.trim_matches(['[', ']']),
        }
    }
    names
}

/// What is missing in docs/cli.md: commands that have no heading or row, flags that stand nowhere.
fn undocumented(command: &clap::Command, path: &str, document: &str) -> Vec<String> {
    let mut missing = Vec::new();
    let flags = command.get_arguments().filter(|argument| !argument.is_hide_set());
    for flag in flags.filter_map(clap::Arg::get_long).filter(|flag| !matches!(*flag, "help" | "version")) {
        if !document.contains(&format!("--{flag}")) {
            missing.push(format!("{path} --{flag}"));
        }
    }
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        let path = format!("{path} {}", below.get_name());
        if !document.contains(&path) {
            missing.push(path.clone());
        }
        missing.extend(undocumented(below, &path, document));
    }
    missing
}

#[test]
fn the_sample_is_a_legal_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let uncommented = settings_in(SAMPLE).collect::<Vec<_>>().join("\n");
    for (name, text) in [("as it stands", SAMPLE), ("with all that is commented out", &uncommented)] {
        let file = folder.path().join("forebay.toml");
        std::fs::write(&file, text).expect("written");
        let read = resolve::<FileConfig>(Some(&file), std::iter::empty(), toml::Table::new(), &[]);
        let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.local.listen.as_deref(), Some(MASTER_ADDRESS), "{name}");
    }
}

#[test]
fn every_setting_stands_in_the_sample_and_in_the_document() {
    let (sample, keys): (_, Vec<Key>) = (names_in(SAMPLE), keys::<FileConfig>());
    assert!(keys.len() > 20, "{} keys", keys.len());
    for key in &keys {
        let key = key.dotted();
        assert!(sample.contains(&key), "{key} does not stand in docs/samples/forebay.toml");
        assert!(CONFIG.contains(&format!("\n| `{key}` |")), "{key} has no row in docs/config.md");
    }
    let known: Vec<_> = keys.iter().map(Key::dotted).collect();
    let gone: Vec<_> = sample.iter().filter(|name| !known.contains(name)).collect();
    assert!(gone.is_empty(), "the sample sets what no code reads: {gone:?}");
}

#[test]
fn every_command_and_flag_stands_in_the_document() {
    let command = Arguments::command();
    assert_eq!(undocumented(&command, "forebay", COMMANDS), [""; 0]);
    let less = COMMANDS.replace("forebay fs locate", "").replace("--format-cache", "");
    assert_eq!(
        undocumented(&command, "forebay", &less),
        ["forebay worker --format-cache", "forebay fs locate"]
    );
}

/// The flags that leave open what holds without them, or how to write their value.
fn unclear(command: &clap::Command, path: &str) -> Vec<String> {
    let mut unclear = Vec::new();
    let takes_value = |flag: &&clap::Arg| !flag.is_positional() && flag.get_action().takes_values();
    for flag in command.get_arguments().filter(takes_value) {
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        let value: Vec<_> =
            flag.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect();
        let has_default = help.contains("default: ") || !flag.get_default_values().is_empty();
        let has_unit = value.iter().any(|name| name.contains("SIZE") || name.contains("DURATION"));
        if !has_default || (has_unit && !help.contains("such as")) {
            unclear.push(format!("{path} {} {}", flag.get_id(), value.join(" ")));
        }
    }
    for below in command.get_subcommands() {
        unclear.extend(self::unclear(below, &format!("{path} {}", below.get_name())));
    }
    unclear
}

#[test]
fn help_says_of_each_flag_what_holds_without_it_and_how_it_is_written() {
    assert_eq!(unclear(&Arguments::command(), "forebay"), [""; 0]);
    let planted = clap::Command::new("planted")
        .arg(clap::Arg::new("a").long("a").value_name("SIZE").help("room [default: 1]"))
        .arg(clap::Arg::new("b").long("b").value_name("DIR").help("a folder"));
    assert_eq!(unclear(&planted, "planted"), ["planted a SIZE", "planted b DIR"]);
}

#[test]
fn a_cap_of_requests_is_bounded_and_0_is_none() {
    let capped = |cap| {
        requests_per_second_max(&UnderStoreConfig { requests_per_second_max: cap, ..Default::default() })
    };
    for (cap, expected) in [(None, REQUESTS_PER_SECOND), (Some(0), 0), (Some(1_000_000), 1_000_000)] {
        assert_eq!(capped(cap).expect("legal"), expected);
    }
    let refused = capped(Some(1_000_001)).expect_err("too many");
    assert_eq!(refused.exit_code(), crate::failure::USAGE);
    assert!(refused.to_string().contains("under_store.requests_per_second_max"), "{refused}");
}

#[test]
fn flags_that_all_commands_have_stand_apart_in_the_help() {
    let mut command = Arguments::command();
    command.build();
    let local = command.find_subcommand_mut("local").expect("it exists");
    let help = local.render_long_help().to_string();
    let (own, shared) = help.split_once("For all commands:").expect("a heading of their own");
    assert!(own.contains("--ram") && own.contains("--insecure"), "{help}");
    assert!(!own.contains("--masters") && shared.contains("--masters"), "{help}");
}
