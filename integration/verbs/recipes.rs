//! What docs/ci.md says to type, and the steps of action.yml, run as they stand.

use std::path::Path;

use serde_json::Value;

use crate::capability::lacks;
use crate::copy::{in_private_copies, in_roots_copy};
use crate::world::{Ran, Traces, ok, sh, write};

const PAGE: &str = include_str!("../../docs/ci.md");
const ACTION: &str = include_str!("../../action.yml");

/// The text of the page's blocks of this language and name.
fn blocks(kind: &str) -> Vec<String> {
    let mut lines = PAGE.lines();
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(opened) = line.strip_prefix("```") {
            let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            if opened == kind {
                blocks.push(block.join("\n"));
            }
        }
    }
    blocks
}

fn recipe(name: &str) -> String {
    let [recipe] = <[String; 1]>::try_from(blocks(&format!("sh {name}"))).expect("one recipe");
    recipe
}

/// Goes to a place of its own with the recipes' files in it.
fn with_files(script: &str) -> String {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ci");
    format!("export PYTHONDONTWRITEBYTECODE=1; cp -r {}/. /run/work; cd /run/work\n{script}", files.display())
}

fn run(name: &str) -> Ran {
    sh(&with_files(&format!("set -e\n{}", recipe(name))))
}

#[test]
fn the_plain_commands_hold_and_write_what_they_say() {
    in_private_copies("recipes::the_plain_commands_hold_and_write_what_they_say", || {
        let before = Traces::now();
        let seen = run("plain").ends_with(0);
        seen.says("2 passed, 0 failed").says("TAP version 14").says("\"failure\": null");
        assert!(ok("cat /run/work/report.xml").contains("<testsuite name=\"network.yaml\""));
        before.is_all_there_is();
    });
}

#[test]
fn the_recipe_for_a_shell_script_holds_and_can_fail() {
    if lacks("python3") || lacks("curl") {
        return;
    }
    in_private_copies("recipes::the_recipe_for_a_shell_script_holds_and_can_fail", || {
        let before = Traces::now();
        run("shell").ends_with(0).says("ok");
        let broken = "sed -i 's/ 80 / 81 /; s/tries=100/tries=3/' check.sh";
        sh(&with_files(&format!("{broken}\n{}", recipe("shell"))))
            .ends_with(1)
            .says("failed: rdom exec client curl");
        before.is_all_there_is();
    });
}

#[test]
fn the_recipes_for_pytest_hold_and_can_fail() {
    if ["python3", "curl", "pytest"].iter().any(|program| lacks(program)) {
        return;
    }
    in_private_copies("recipes::the_recipes_for_pytest_hold_and_can_fail", || {
        let before = Traces::now();
        run("pytest").ends_with(0).says("2 passed");
        run("verdicts").ends_with(0).says("2 passed");
        sh(&with_files("pytest test_service.py")).ends_with(4).says("rdom run network.yaml -- pytest");
        let broken = "sed -i 's/expect: unreachable/within: 100ms/' network.yaml";
        let failed = sh(&with_files(&format!("{broken}\n{}", recipe("verdicts")))).ends_with(1);
        failed.says("1 failed, 1 passed").says("ping 10.0.0.2");
        before.is_all_there_is();
    });
}

/// Where Podman keeps what it has, and what it can do in a copy.
const PODMAN: &str = "
    mkdir -p root/bin && cp \"$(command -v busybox)\" root/bin/ping
    printf '[storage]\\ndriver = \"vfs\"\\ngraphroot = \"/run/work/graph\"\\nrunroot = \"/run/work/run\"\\n' >storage.conf
    printf '[containers]\\ncgroups = \"disabled\"\\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\\n' >containers.conf
    printf '[engine]\\nruntime = \"crun\"\\ncgroup_manager = \"cgroupfs\"\\n' >>containers.conf
    export CONTAINERS_STORAGE_CONF=$PWD/storage.conf CONTAINERS_CONF=$PWD/containers.conf
    IMAGE=\"--rootfs $PWD/root\"";

#[test]
fn a_container_joins_a_domain() {
    if ["podman", "crun", "busybox"].iter().any(|program| lacks(program)) {
        return;
    }
    in_roots_copy("recipes::a_container_joins_a_domain", || {
        write("container.sh", &recipe("container"));
        let joined =
            sh(&with_files(&format!("{PODMAN}\nexport IMAGE\nrdom run network.yaml -- sh container.sh")));
        joined.ends_with(0).says("1 packets received");
        let elsewhere =
            recipe("container").replace("netns/client", "netns/server").replace("10.0.0.2", "10.0.0.9");
        write("container.sh", &elsewhere);
        let script = format!("{PODMAN}\nexport IMAGE\nrdom run network.yaml -- sh container.sh");
        sh(&with_files(&script)).ends_with(1).says("0 packets received");
    });
}

/// Makes the container's root one that `rdom` runs in, without a /run.
const WITH_RDOM: &str = "
    rdom=$(command -v rdom)
    for file in \"$rdom\" $(ldd \"$rdom\" | grep -o '/[^ ]*'); do
        mkdir -p \"root$(dirname \"$file\")\" && cp \"$file\" \"root$file\"
    done
    mkdir -p root/tests root/proc root/sys root/dev root/etc && echo 'root:x:0:0::/:/bin/sh' >root/etc/passwd
    ln -sf \"$rdom\" root/bin/rdom; ln -sf ping root/bin/cat
    IMAGE=\"--cgroups=disabled --network none $IMAGE\"";

#[test]
fn a_file_is_tested_in_a_container() {
    if ["podman", "crun", "busybox", "ldd"].iter().any(|program| lacks(program)) {
        return;
    }
    in_roots_copy("recipes::a_file_is_tested_in_a_container", || {
        let router = concat!("cp '", env!("CARGO_MANIFEST_DIR"), "/examples/router-chain.yaml' router.yaml");
        let groups = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup";
        let prepared = format!("{groups}\n{PODMAN}\n{WITH_RDOM}\n{router}");
        let tested = |command: &str| sh(&with_files(&format!("{prepared}\n{command}")));
        tested(&recipe("podman")).ends_with(0).says("2 passed, 0 failed");
        tested(&recipe("podman-router")).ends_with(0).says("5 passed, 0 failed");
        let masked = recipe("podman-router").replace("--security-opt unmask=/proc/sys", "");
        tested(&masked)
            .ends_with(4)
            .says("ip_forward cannot be written")
            .says("podman run --security-opt unmask");
    });
}

/// A server in a domain, a recipe, and who asks from the default domain.
fn forwarded(recipe_name: &str) -> Ran {
    let asked = format!(
        "rdom exec server python3 -m http.server --bind 10.0.0.2 80 >/dev/null 2>&1 &\n\
         {} &\n\
         curl -sS --retry 30 --retry-delay 1 --retry-all-errors -o /dev/null -w 'says %{{http_code}}' \
         http://127.0.0.1:8080/\n",
        recipe(recipe_name)
    );
    write("forwarded.sh", &asked);
    sh(&with_files("rdom run network.yaml -- sh forwarded.sh"))
}

#[test]
fn a_port_comes_out_of_a_domain() {
    let proxyd = "/lib/systemd/systemd-socket-proxyd";
    if ["python3", "curl", "socat", "systemd-socket-activate"].iter().any(|program| lacks(program)) {
        return;
    }
    assert!(Path::new(proxyd).exists(), "{proxyd} goes with systemd-socket-activate");
    in_private_copies("recipes::a_port_comes_out_of_a_domain", || {
        let before = Traces::now();
        forwarded("socat").ends_with(0).says("says 200");
        forwarded("proxyd").ends_with(0).says("says 200");
        before.is_all_there_is();
    });
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// The words that expressions of an action name: `inputs.NAME`.
fn inputs_used(text: &str) -> Vec<&str> {
    let after = text.split("inputs.").skip(1);
    after.filter_map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()).collect()
}

#[test]
fn the_action_uses_the_inputs_that_it_has_and_the_page_no_others() {
    let action = yaml(ACTION);
    let inputs: Vec<_> = action["inputs"].as_object().expect("inputs").keys().map(String::as_str).collect();
    let mut used = inputs_used(ACTION);
    used.sort_unstable();
    assert_eq!((action["runs"]["using"].as_str(), used), (Some("composite"), inputs.clone()));
    let pages = blocks("yaml");
    let job = yaml(pages.iter().find(|block| block.starts_with("jobs:")).expect("a job"));
    let with = job["jobs"]["network"]["steps"][1]["with"].as_object().expect("what the action is given");
    assert!(!with.is_empty() && with.keys().all(|key| inputs.contains(&key.as_str())), "{with:?}");
    pages.iter().for_each(|block| drop(yaml(block)));
}

/// The action's steps one after the other, as a runner runs them that has `rdom` already.
fn act(inputs: [&str; 3]) -> Ran {
    let [files, junit, args] = inputs;
    let steps = yaml(ACTION)["runs"]["steps"].as_array().expect("steps").clone();
    let mut script = format!("export FILES='{files}' JUNIT='{junit}' ARGS='{args}' GITHUB_ACTIONS=true\n");
    for (number, step) in steps.iter().enumerate() {
        assert_eq!(step["shell"], "bash");
        write(&format!("step{number}.sh"), step["run"].as_str().expect("what to run"));
        // As GitHub starts it (docs.github.com, `jobs.<job_id>.steps[*].shell`).
        script += &format!("bash --noprofile --norc -eo pipefail step{number}.sh\n");
    }
    sh(&with_files(&format!("set -e\n{script}")))
}

#[test]
fn the_steps_of_the_action_run_as_they_stand() {
    if lacks("bash") {
        return;
    }
    in_private_copies("recipes::the_steps_of_the_action_run_as_they_stand", || {
        act(["net*.yaml", "", ""]).ends_with(0).says("2 passed, 0 failed");
        act(["network.yaml\n network.yaml", "out of it.xml", "--jobs 1 --repeat 2"])
            .ends_with(0)
            .says("8 passed");
        assert!(ok("cat 'out of it.xml'").contains("<testsuites"));
        write("fails.yaml", "domains: {1: {}}\ntests:\n  - {in: 1, exec: ['false']}\n");
        act(["fails.yaml", "", ""]).ends_with(1).says("::error file=fails.yaml,line=3");
    });
}
