//! What it is for: sixteen processes commit to one git repository, and nothing is lost.

use std::process::{Command, Output};

use crate::space::Space;

const PROCESSES: usize = 16;

fn git(space: &Space) -> Command {
    let mut git = space.program("git");
    // Nobody's own configuration takes part.
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "agent").env(format!("GIT_{role}_EMAIL"), "agent@example.org");
    }
    git
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn sixteen_processes_commit_to_one_repository() {
    let space = Space::new();
    succeeded(&git(&space).args(["init", "-q", "repo"]).output().unwrap());
    let environment = git(&space);
    let agents: Vec<_> = (0..PROCESSES)
        .map(|agent| {
            let script =
                format!("echo {agent} > {agent}.txt && git add {agent}.txt && git commit -q -m 'agent {agent}'");
            let mut locks = space.locks(["run", "--timeout", "120s", "repo", "--", "sh", "-c", &script]);
            for (name, value) in environment.get_envs() {
                value.map(|value| locks.env(name, value));
            }
            locks.current_dir(space.path("repo")).spawn().unwrap()
        })
        .collect();
    for agent in agents {
        succeeded(&agent.wait_with_output().unwrap());
    }
    let count = git(&space).args(["-C", "repo", "rev-list", "--count", "HEAD"]).output().unwrap();
    assert_eq!(succeeded(&count).trim(), PROCESSES.to_string());
    let clean = git(&space).args(["-C", "repo", "status", "--porcelain"]).output().unwrap();
    assert_eq!(succeeded(&clean), "");
    succeeded(&git(&space).args(["-C", "repo", "fsck", "--strict"]).output().unwrap());
    let statistics = space.json(["stats", "repo"]);
    assert_eq!(statistics["locks"]["write"]["total_acquisitions"], PROCESSES);
}
