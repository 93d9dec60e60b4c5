"""The committed examples are what generate.py writes."""

import pathlib
import subprocess
import sys
import unittest


class Generated(unittest.TestCase):
    def test_fresh(self):
        script = pathlib.Path(__file__).with_name("generate.py")
        done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
