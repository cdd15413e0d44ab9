"""Where the command ``edgecloud`` starts: of itself it imports nothing, so that Ctrl-C is quiet.

Everything else takes its time to be imported, `edgecloud_gym` itself included.
"""


def main() -> None:
    """Runs the command line; interrupted while it starts, it ends as an interrupted command."""
    try:
        from edgecloud_gym.command import main as run

        run()
    except KeyboardInterrupt:  # a command that runs tells more
        raise SystemExit(130) from None
