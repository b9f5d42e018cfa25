"""`python -m tesela`: the command line where its script is not on the path."""

from tesela.cli import main

if __name__ == "__main__":
    main()
