"""Who calls `monitor` and `retrain`: the workflows, the line of cron and the timer are what those who read them take."""
import dataclasses
import datetime
import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from model_ops.errors import DataError, ParameterError, PreflightError
from model_ops.monitor import schedules
from model_ops.settings import Settings

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOWS = REPOSITORY / ".github/workflows"
SYSTEMD = shutil.which("systemd-analyze")
with_systemd = pytest.mark.skipif(not SYSTEMD, reason="systemd-analyze is not on this machine")
WHEN = {"daily": "17 5 * * *", "workdays": "30 4 * * mon-fri", "steps": "*/20 */6 * * *", "months": "5 0 1,15 jan-jul/3 *", "sunday": "0 23 * * 7"}


@pytest.fixture
def settings(tmp_path):
    root = tmp_path / "a book 100%"
    root.mkdir()
    (root / "settings.ini").write_text("[workbook]\nname = parcels\n[registry]\nmodel = Late parcels\n")
    return Settings.load(root, "production")


def flows(settings) -> dict[str, dict]:
    return {Path(path).stem: yaml.safe_load(text) for path, text in schedules.github(settings).items()}


def steps(flow: dict):
    return [step for job in flow["jobs"].values() for step in job["steps"]]


# ---------------------------------------------------------------- when

@pytest.mark.parametrize("when", ["", "@daily", "5 * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 13 *", "* * * * 8", "5/10 * * * *", "*/0 * * * *", "9-5 * * * *", "a * * * *", "1,,2 * * * *",
                                  "-1 * * * *", "* * * * monday", "0 5 1 * mon", "0 5 * * *\n* * * * * rm"])
def test_what_cannot_be_or_is_ambiguous_is_refused(when, settings):
    for ask in (schedules.times, schedules.calendar, lambda w: schedules.github(settings, when=w), lambda w: schedules.cron(settings, when=w)):
        with pytest.raises(ParameterError): ask(when)


@with_systemd
@pytest.mark.parametrize("name", WHEN)
def test_systemd_means_the_same_minutes_as_cron(name):
    found, at = schedules.times(WHEN[name]), datetime.datetime(2026, 2, 27, 12, tzinfo=datetime.UTC)
    expected, now = [], at
    while len(expected) < 6:
        now += datetime.timedelta(minutes=1)
        if now.month not in found["month"]: now = (now.replace(day=1, hour=0, minute=0) + datetime.timedelta(days=32)).replace(day=1) - datetime.timedelta(minutes=1)
        elif (now.minute in found["minute"] and now.hour in found["hour"] and now.day in found["day"] and (now.weekday() + 1) % 7 in found["weekday"]): expected.append(f"{now:%Y-%m-%d %H:%M}")
    said = subprocess.run([SYSTEMD, "calendar", "--iterations=6", f"--base-time={at:%Y-%m-%d %H:%M} UTC", schedules.calendar(WHEN[name])], capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC"}).stdout
    assert re.findall(r"(?:Next elapse|Iter\. #\d|Iteration #\d+): \w{3} (\d{4}-\d\d-\d\d \d\d:\d\d)", said) == expected


# ---------------------------------------------------------------- GitHub

def test_the_schedule_and_the_environment_are_filled_in(settings):
    flow = flows(settings)["monitor"]
    assert flow[True]["schedule"] == [{"cron": schedules.WHEN}] and flow["jobs"]["look"]["env"]["MODEL_OPS_ENVIRONMENT"] == "production"
    other = yaml.safe_load(schedules.github(dataclasses.replace(settings, environment="test"), when="0  5 * *   1-5")[".github/workflows/monitor.yml"])
    assert other[True]["schedule"] == [{"cron": "0 5 * * 1-5"}] and other["jobs"]["look"]["env"]["MODEL_OPS_ENVIRONMENT"] == "test"


def test_each_job_has_the_rights_it_needs_and_no_more(settings):
    found = flows(settings)
    rights = {(name, job): told.get("permissions", flow["permissions"]) for name, flow in found.items() for job, told in flow["jobs"].items()}
    assert rights == {("pull-request", "pipeline"): {"contents": "read", "pull-requests": "write"}, ("monitor", "look"): {}, ("monitor", "tell"): {"issues": "write"}}
    assert found["pull-request"]["permissions"] == {"contents": "read"} and found["monitor"]["permissions"] == {}
    for flow in found.values():
        assert flow["concurrency"]["group"] and all(job["timeout-minutes"] for job in flow["jobs"].values())
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps(flow) if "uses" in step)


def test_a_branch_gets_neither_onto_the_machine_nor_into_a_script(settings):
    found = flows(settings)
    assert set(found["pull-request"][True]) == {"pull_request"} and set(found["monitor"][True]) == {"schedule", "workflow_dispatch"}
    assert {name: job["runs-on"] for flow in found.values() for name, job in flow["jobs"].items()} == {"pipeline": "ubuntu-latest", "look": ["self-hosted", "model-ops"], "tell": "ubuntu-latest"}
    assert not any("checkout" in step.get("uses", "") for step in steps(found["monitor"]))
    for flow in found.values():
        assert not any("${{" in step.get("run", "") for step in steps(flow))
    secret = [step["name"] for step in steps(found["pull-request"]) if "secrets." in str(step)]
    assert secret == ["Run the pipeline on a sample", "Write the comment"] and "secrets." not in str(found["monitor"])


def test_the_shell_reads_every_block(settings):
    for flow in [*flows(settings).values(), yaml.safe_load((REPOSITORY / "model_ops/share/workbook/model-ops.yml").read_text())]:
        for step in steps(flow):
            if "run" in step: subprocess.run(["bash", "-n", "-c", step["run"]], check=True)


def test_the_commands_are_those_of_the_command_line(settings):
    from typer.main import get_command
    from model_ops.cli.main import app
    commands = get_command(app).commands
    scripts = [step["run"] for flow in flows(settings).values() for step in steps(flow) if "run" in step] + [schedules.cron(settings)["crontab"]]
    called = [(name, re.findall(r"(?<!\S)--[a-z-]+", rest)) for text in scripts for name, rest in re.findall(r"model-ops ([a-z]+)((?: [^|&;>\n]*)?)", re.sub(r"(?m)^#.*", "", text))]
    assert {name for name, _ in called} >= {"run", "diff", "monitor", "retrain"}
    for name, options in called:
        known = {option for p in commands[name].params for option in (*p.opts, *p.secondary_opts)}
        assert set(options) <= known, name


def test_this_repository_has_the_same_workflow(settings):
    assert (WORKFLOWS / "pull-request.yml").read_text() == schedules.github(settings)[".github/workflows/pull-request.yml"]


def said_by(script: str, folder: Path, **env) -> str:
    "What a block does with a `gh` that notes how it is called."
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/gh").write_text('#!/bin/sh\ncase "$1 $2" in "issue list") echo "$OPEN";; "api --paginate") echo "$OPEN";; *) printf "%s\\n" "$*" | head -n 1 >> calls;; esac\n')
    (folder / "bin/gh").chmod(0o755)
    (folder / "calls").unlink(missing_ok=True)
    told = {"GITHUB_SERVER_URL": "https://forge.example", "GITHUB_REPOSITORY": "me/parcels", "GITHUB_RUN_ID": "7", **env}
    subprocess.run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], cwd=folder, check=True, env={"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", **told})
    return (folder / "calls").read_text() if (folder / "calls").exists() else ""


def test_people_are_told_once_and_told_when_it_is_over(settings, tmp_path):
    script = next(step["run"] for step in steps(flows(settings)["monitor"]) if step.get("name") == "Tell people")
    (tmp_path / "said").mkdir()
    (tmp_path / "said/1-monitor.txt").write_text("Retrain: late parcels are worse.\n```\n# not a title\n" + "x" * 100_000)
    tell = lambda conclusion, opened, result="success": said_by(script, tmp_path, CONCLUSION=conclusion, OPEN=opened, RESULT=result)
    assert "issue create --title Production: retrain --label monitoring" in tell("retrain", "")
    body = (tmp_path / "body.md").read_text()
    assert "    # not a title" in body and "actions/runs/7" in body and len(body) < 65_536
    assert "issue edit 12 --title Production: roll back" in tell("roll back", "12") and "create --title" not in tell("roll back", "12")
    assert "issue close 12" in tell("fine", "12") and "issue" not in tell("fine", "")
    shutil.rmtree(tmp_path / "said")
    assert "Production: no conclusion; the job failed" in tell("", "", "failure") and "Nothing was said" in (tmp_path / "body.md").read_text()


def test_a_pull_request_has_one_comment(settings, tmp_path):
    script = next(step["run"] for step in steps(flows(settings)["pull-request"]) if step.get("name") == "Comment")
    (tmp_path / "comment.md").write_text("<!-- model-ops diff -->\nbetter\n")
    assert said_by(script, tmp_path, NUMBER="3", OPEN="").startswith("api --silent repos/me/parcels/issues/3/comments --raw-field body=<!-- model-ops diff -->")
    assert said_by(script, tmp_path, NUMBER="3", OPEN="5\n6").startswith("api --silent --method PATCH repos/me/parcels/issues/comments/6 ")


# ---------------------------------------------------------------- the machine's own clocks

@with_systemd
def test_systemd_takes_the_units(settings, tmp_path):
    made = schedules.cron(settings, program="/bin/true", user="root")
    for name, text in made.items():
        if "monitor." in name: (tmp_path / name).write_text(text)
    done = subprocess.run([SYSTEMD, "verify", "--man=no", *map(str, tmp_path.glob("*monitor.*"))], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "late-parcels-monitor" in line]
    assert done.returncode == 0 and not ours, done.stderr
    exposure = subprocess.run([SYSTEMD, "security", "--offline=true", "--no-pager", str(tmp_path / "late-parcels-monitor.service")], capture_output=True, text=True)
    assert (score := re.search(r"exposure level for \S+: ([\d.]+)", exposure.stdout)) and float(score[1]) < 4.5, exposure.stdout + exposure.stderr


def test_the_line_of_cron_monitors_and_then_retrains_and_does_not_disturb_itself(settings, tmp_path):
    if not shutil.which("flock"): pytest.skip("flock is not on this machine")
    program = tmp_path / "bin of mine" / "model-ops"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$1 in $PWD, $MODEL_OPS_ENVIRONMENT" >> calls\n[ ! -f broken ]\n')
    program.chmod(0o755)
    lines = [line for line in schedules.cron(settings, program=program)["crontab"].splitlines() if line and not line.startswith("#")]
    env = dict(line.split("=", 1) for line in lines[:-1])
    assert lines[-1].startswith("17 5 * * * ") and not re.search(r"(?<!\\)%", lines[-1])
    run = lambda: subprocess.run([env["SHELL"], "-c", lines[-1].split(None, 5)[5].replace(r"\%", "%")], env={**env, "PATH": "/usr/bin:/bin"}, cwd="/").returncode
    calls = settings.root / "calls"
    assert run() == 0 and calls.read_text().splitlines() == [f"{word} in {settings.root}, production" for word in ("monitor", "retrain")]
    calls.unlink()
    with open(settings.root / "scratch/.schedule.lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert run() == 0 and not calls.exists()
    (settings.root / "broken").touch()
    assert run() == 1 and len(calls.read_text().splitlines()) == 1  # no look, no retraining


def test_what_is_written_elsewhere_may_be_written_and_no_secret_is(tmp_path, monkeypatch):
    monkeypatch.setenv("LEDGER", "postgresql://me:very-secret@db.example/ledger")
    (tmp_path / "settings.ini").write_text("[workbook]\nname = parcels\n[ledger]\nurl = env:LEDGER\n[log]\nfolder = /srv/log\n[registry]\nstore = /srv/store\n[tracking]\nuri = sqlite:////srv/runs/mlflow.db\n[serve]\ntoken = env:LEDGER\n")
    made = schedules.cron(Settings.load(tmp_path), program="/opt/model-ops")
    assert f'ReadWritePaths="{tmp_path}" "-/srv/log" "-/srv/runs" "-/srv/store"\n' in made["parcels-monitor.service"]
    assert "very-secret" not in str(made) + str(schedules.github(Settings.load(tmp_path)))


def test_a_path_that_would_be_read_otherwise_is_refused(settings):
    with pytest.raises(PreflightError, match="character"): schedules.cron(settings, program='/opt/"x"/model-ops')
    with pytest.raises(ParameterError, match="in full"): schedules.cron(settings, program="bin/model-ops")


@pytest.mark.parametrize("user", ["me\nExecStartPre=/bin/evil", "me\n", "me you", "-me", "7", "Ada", "%u", "$me", "me$$", "../me", "mé"])
def test_a_user_that_could_be_more_than_a_name_is_refused(settings, user):
    with pytest.raises(ParameterError, match="small letters, digits"): schedules.cron(settings, program="/opt/model-ops", user=user)


@pytest.mark.parametrize("user", ["me", "_svc", "late-parcels.7", "machine$"])
def test_a_user_as_systems_name_them_runs_the_service(settings, user):
    assert f"\nUser={user}\nWorkingDirectory=" in schedules.cron(settings, program="/opt/model-ops", user=user)["late-parcels-monitor.service"]


# ---------------------------------------------------------------- beside the files of others

def test_nothing_of_others_is_replaced_or_removed(settings, tmp_path):
    there = tmp_path / "there"
    made = schedules.cron(settings, program="/opt/model-ops", user="me")
    assert schedules.place(made, there, "cron") == list(made) and schedules.place(made, there, "cron") == []
    (there / "notes.txt").write_text("mine")
    later = schedules.cron(settings, when="0 6 * * *", program="/opt/model-ops", user="me")
    assert set(schedules.place(later, there, "cron")) == {"crontab", "late-parcels-monitor.timer", "README.md"} and (there / "notes.txt").read_text() == "mine"
    assert schedules.place(later, there, "cron", ["crontab"]) == ["crontab"] and (there / "crontab").stat().st_mode & 0o777 == 0o600
    assert schedules.place(later, there, "cron", ["crontab"]) == []
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "crontab").write_text("* * * * * true\n")
    with pytest.raises(DataError, match="crontab was not made"): schedules.place(made, mine, "cron")
    assert [p.name for p in mine.iterdir()] == ["crontab"]
    with pytest.raises(DataError, match="is a file"): schedules.place(made, mine / "crontab", "cron")
