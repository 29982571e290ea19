#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""document.py DOCUMENT - runs the commands of a document, and compares what they print.

A command is a line "$ ..." of a block that is indented or fenced (lines "> ..." go on with it); what
stands below it, to the next one or the end of the block, is what it prints, standard error too.
"..." in a line stands for anything, a line "..." for any lines. A command that shows nothing prints
nothing and ends with 0. All of a document run in one bash, in an empty directory that is $HOME, with
a link `build` to what was built. Blocks that want root or systemd have no "$ ", but "# ".
"""
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

MARK = '@@done@@'
LIMIT_S = 60


def commands_of(path):
    """Yields (line number, command, the lines that are expected) of each command."""
    found = None
    fenced = False
    with open(path, encoding='utf-8') as document:
        lines = document.read().split('\n')
    for number, line in enumerate(lines + [''], 1):
        if line.startswith('```'):
            fenced = not fenced
            text = None
        else:
            text = line if fenced else line[4:] if line.startswith('    ') else None
        if text is not None and text.startswith('> ') and found and not found[2]:
            found[1] += '\n' + text[2:]
        elif text is None or text.startswith(('$ ', '# ')):
            if found:
                yield tuple(found)
            found = [number, text[2:], []] if text and text.startswith('$ ') else None
        elif found:
            found[2].append(text)


class Shell:
    """One bash for all commands: variables, directories and jobs stay."""

    def __init__(self, home):
        environment = dict(os.environ, HOME=home, LC_ALL='C.UTF-8', TMPDIR=home)
        for name in ('KV_SERVER', 'KV_PROGRAM', 'XDG_RUNTIME_DIR'):
            environment.pop(name, None)
        # pylint: disable=consider-using-with # it lives as long as the shell
        self.bash = subprocess.Popen(['bash'], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, cwd=home, env=environment,
                                     encoding='utf-8', errors='replace', start_new_session=True)
        self.lines = []
        self.ended = False
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.bash.stdout:
            self.lines.append(line.rstrip('\n'))
        self.ended = True

    def run(self, command, expected):
        """Returns the status of the command and what it printed."""
        del self.lines[:]
        self.bash.stdin.write(f'{command}\n__s=$?; echo; echo "{MARK} $__s"; (exit $__s)\n')
        self.bash.stdin.flush()
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end and not self.ended:
            got = list(self.lines)
            status = [line for line in got if line.startswith(MARK)]
            said = without_marks(got)
            # What runs in the background prints when it likes.
            if status and (matches(expected, said) or not command.rstrip().endswith('&')):
                return int(status[0].split()[1]), said
            time.sleep(0.005)
        return None, without_marks(list(self.lines))


def without_marks(lines):
    """The lines without the mark, and the empty line in front of it."""
    for i, line in enumerate(lines):
        if line.startswith(MARK):
            return lines[:i - 1] + lines[i + 1:]
    return lines


def matches(expected, said):
    said = list(said)
    pattern = ''
    for line in expected:
        part = '(.*\n)*' if line == '...' else \
            re.escape(line.rstrip()).replace(re.escape('...'), '.*') + ' *\n'
        pattern += part
    text = ''.join(line + '\n' for line in said)
    return re.fullmatch(pattern, text) is not None


def main():
    path = os.path.abspath(sys.argv[1])
    failed = ran = 0
    with tempfile.TemporaryDirectory(prefix='kv-doc.') as home:
        os.symlink(os.path.abspath(os.environ.get('BUILD', 'build')), os.path.join(home, 'build'))
        shell = Shell(home)
        for number, command, expected in commands_of(path):
            while expected and not expected[-1].strip():
                expected.pop()
            status, said = shell.run(command, expected)
            ran += 1
            if matches(expected, said) and (status == 0 or (expected and status is not None)):
                continue
            print(f'not ok {os.path.basename(path)}:{number}: {command}')
            print(f'  exit status {status}, printed:')
            for line in said:
                print(f'    {line}')
            failed += 1
            if status is None:
                break
        shell.bash.stdin.write('kill $(jobs -p) 2> /dev/null; wait\n')
        shell.bash.stdin.close()
        shell.bash.wait(LIMIT_S)
    if failed == 0 and ran > 0:
        print(f'ok all {ran} commands of {os.path.basename(path)}')
    elif ran == 0:
        print(f'not ok {os.path.basename(path)} has no command')
    return 1 if failed or ran == 0 else 0


sys.exit(main())
