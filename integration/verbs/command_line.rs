//! The command line about itself: completions, manual pages, schemas.

use crate::copy::in_private_copies;
use crate::world::{EXAMPLE, is_file, json, ok, sh, write};

#[test]
fn shells_complete_it() {
    in_private_copies("command_line::shells_complete_it", || {
        for shell in ["bash", "zsh", "fish"] {
            assert!(ok(&format!("rdom completions {shell}")).contains("rdom"));
        }
        ok("rdom completions bash | bash -n");
        // Verbs that are for the program alone.
        assert!(!ok("rdom completions bash").contains("engine"));
    });
}

#[test]
fn every_verb_has_a_manual_page() {
    in_private_copies("command_line::every_verb_has_a_manual_page", || {
        assert!(ok("rdom man").contains(".TH rdom 1"));
        ok("rdom man /run/share/man/man1");
        for page in ["rdom.1", "rdom-up.1", "rdom-status.1", "rdom-wg.1"] {
            assert!(is_file(&format!("/run/share/man/man1/{page}")), "{page}");
        }
        sh("rdom man /proc/nowhere").ends_with(1).says("cannot write to /proc/nowhere");
    });
}

#[test]
fn documents_have_schemas() {
    in_private_copies("command_line::documents_have_schemas", || {
        for line in ok("rdom schema").lines() {
            let name = line.split(' ').next().expect("a name");
            assert!(json(&format!("rdom schema {name}"))["$schema"].is_string(), "{line}");
        }
        sh("rdom schema nothing").ends_with(2).says("help: `rdom schema` names them all");
    });
}

#[test]
fn a_missing_file_is_asked_for_in_the_words_that_were_typed() {
    in_private_copies("command_line::a_missing_file_is_asked_for_in_the_words_that_were_typed", || {
        for words in ["check --backend all", "plan", "up -d", "test --tap"] {
            sh(&format!("cd / && rdom {words}"))
                .ends_with(2)
                .says(&format!("help: name one: rdom {words} FILE;"));
        }
    });
}

#[test]
fn an_option_that_a_verb_makes_no_use_of_is_refused_and_not_in_its_help() {
    in_private_copies(
        "command_line::an_option_that_a_verb_makes_no_use_of_is_refused_and_not_in_its_help",
        || {
            for (verb, option) in
                [("up", "--json"), ("check", "--network"), ("run", "--json"), ("man", "--network=x")]
            {
                let refused = sh(&format!("rdom {verb} {option}")).ends_with(2);
                refused.says("unexpected argument").says("this verb makes no use of it");
                let name = option.split('=').next().expect("a name");
                assert!(!ok(&format!("rdom {verb} --help")).contains(name), "{verb}");
            }
            assert!(ok("rdom check --help").contains("--json") && ok("rdom up --help").contains("--network"));
            ok("RDOM_NETWORK=other rdom completions bash");
        },
    );
}

#[test]
fn what_cannot_be_written_is_said() {
    in_private_copies("command_line::what_cannot_be_written_is_said", || {
        write("domains.yaml", EXAMPLE);
        for verb in ["check", "check --json", "plan", "schema", "schema status", "completions bash", "man"] {
            let ended = sh(&format!("rdom {verb} >/dev/full")).ends_with(1);
            ended.says("rdom: cannot write to standard output: No space left on device");
        }
        for report in ["--json >/dev/full", "--tap >/dev/full", "--junit /dev/full"] {
            sh(&format!("rdom test {report}")).ends_with(1).says("rdom: cannot write");
        }
    });
}
