"""`lenswatch status` and `reset`."""

from lenswatch.reference.paths import current_digest


def test_status_and_reset_tell_of_streams(trained, run, tmp_path, camera):
    (tmp_path / "one.jpg").write_bytes(camera(60))
    run("predict", "--stream", "reef", tmp_path / "one.jpg")
    shown = run("status").output
    assert "reef" in shown
    assert current_digest(trained.storage_path) in shown
    assert "window cleared" in run("reset", "reef").output
    again = run("reset", "reef")
    assert again.exit_code == 1
    assert "no window" in again.output
