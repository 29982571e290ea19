/* SPDX-License-Identifier: BSD-3-Clause */
#include "shell.h"

#include <errno.h>
#include <histedit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "colour.h"
#include "command_process.h"
#include "commands.h"
#include "completion.h"
#include "errors.h"
#include "output.h"
#include "words.h"

enum { HISTORY_LINES = 1000, PATH_SIZE = 4096, PROMPT_SIZE = 64 };

struct shell {
	const struct settings *settings;
	struct completion completion;
	EditLine *editor;
	History *history;
	char history_path[PATH_SIZE]; /* "": it is not kept */
	char prompt[PROMPT_SIZE];
	struct words words;
};

bool shell_is_wanted(void) {
	return isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
}

/* --- The editor ------------------------------------------------------------------------------ */

static struct shell *shell_of(EditLine *editor) {
	struct shell *shell = NULL;

	(void)el_get(editor, EL_CLIENTDATA, &shell);
	return shell;
}

static char *prompt(EditLine *editor) {
	return shell_of(editor)->prompt;
}

static void list_candidates(const struct completion *completion) {
	(void)output_text("\n");
	for (size_t i = 0; i < completion->count; i++)
		(void)output_text("%s\n", completion->candidates[i]);
	if (completion->more)
		(void)output_text("...\n");
}

static unsigned char complete(EditLine *editor, int key) {
	struct shell *shell = shell_of(editor);
	const LineInfo *line = el_line(editor);
	struct kv_bytes before = {line->buffer, (size_t)(line->cursor - line->buffer)};

	(void)key;
	completion_find(&shell->completion, before);
	if (shell->completion.insert[0] != '\0')
		return el_insertstr(editor, shell->completion.insert) == 0 ? CC_REFRESH : CC_ERROR;
	if (shell->completion.count < 2)
		return CC_ERROR;
	list_candidates(&shell->completion);
	return CC_REDISPLAY;
}

/* Ctrl-C is a key of the line: as a signal, one between two reads would be lost, and what is typed
 * behind it too. */
static unsigned char empty_line(EditLine *editor, int key) {
	const LineInfo *line = el_line(editor);

	(void)key;
	(void)el_cursor(editor, (int)(line->lastchar - line->cursor));
	line = el_line(editor);
	el_deletestr(editor, (int)(line->cursor - line->buffer));
	(void)output_text("^C\n");
	return CC_REDISPLAY;
}

/* --- History --------------------------------------------------------------------------------- */

/* Kept in $XDG_STATE_HOME, readable by its user only, for values are in it; without that not at
 * all. */
static void find_history(struct shell *shell) {
	const char *state = getenv("XDG_STATE_HOME");
	int size;

	shell->history_path[0] = '\0';
	if (state == NULL || state[0] != '/')
		return;
	size = snprintf(shell->history_path, PATH_SIZE, "%s/kvctl", state);
	if (size >= PATH_SIZE - (int)sizeof("/history") ||
	    (mkdir(shell->history_path, S_IRWXU) != 0 && errno != EEXIST))
		shell->history_path[0] = '\0';
	else
		strcat(shell->history_path, "/history");
}

static void open_history(struct shell *shell) {
	HistEvent event;

	find_history(shell);
	shell->history = history_init();
	if (shell->history == NULL)
		return;
	(void)history(shell->history, &event, H_SETSIZE, HISTORY_LINES);
	(void)history(shell->history, &event, H_SETUNIQUE, 1);
	(void)el_set(shell->editor, EL_HIST, history, shell->history);
	if (shell->history_path[0] != '\0')
		(void)history(shell->history, &event, H_LOAD, shell->history_path);
}

static void close_history(struct shell *shell) {
	HistEvent event;

	if (shell->history == NULL)
		return;
	if (shell->history_path[0] != '\0')
		(void)history(shell->history, &event, H_SAVE, shell->history_path);
	history_end(shell->history);
}

/* --- Lines ----------------------------------------------------------------------------------- */

/* Makes a signal end the reading of a line, and nothing else. */
static void ignore(int number) {
	(void)number;
}

static bool open_editor(struct shell *shell) {
	struct sigaction action = {.sa_handler = ignore};
	const char *begin = colour_begin(STDOUT_FILENO, COLOUR_PROMPT);

	(void)sigaction(SIGINT, &action, NULL);
	if (begin[0] != '\0')
		(void)snprintf(shell->prompt, PROMPT_SIZE, "\1%s\1kv>\1%s\1 ", begin,
			       colour_end(STDOUT_FILENO));
	else
		(void)snprintf(shell->prompt, PROMPT_SIZE, "kv> ");
	shell->editor = el_init("kvctl", stdin, stdout, stderr);
	if (shell->editor == NULL)
		return false;
	(void)el_set(shell->editor, EL_CLIENTDATA, shell);
	(void)el_set(shell->editor, EL_SIGNAL, 1);
	(void)el_set(shell->editor, EL_EDITOR, "emacs");
	(void)el_set(shell->editor, EL_PROMPT_ESC, prompt, '\1');
	(void)el_set(shell->editor, EL_ADDFN, "kv-complete", "Complete a command or a key",
		     complete);
	(void)el_set(shell->editor, EL_BIND, "^I", "kv-complete", NULL);
	(void)el_set(shell->editor, EL_ADDFN, "kv-empty-line", "Empty the line", empty_line);
	(void)el_set(shell->editor, EL_BIND, "^C", "kv-empty-line", NULL);
	(void)el_set(shell->editor, EL_SETTY, "-d", "intr=", NULL);
	open_history(shell);
	return true;
}

/* False: the user is done. */
static bool run_line(struct shell *shell, struct kv_bytes line) {
	struct settings settings = *shell->settings;
	const char *error = words_split(&shell->words, line);
	char **argv = shell->words.word;

	if (error != NULL)
		(void)error_usage(NULL, "%s", error);
	if (error != NULL || shell->words.count == 0)
		return true;
	if (strcmp(argv[0], "exit") == 0 || strcmp(argv[0], "quit") == 0)
		return false;
	const struct command *command = commands_find(argv[0]);
	if (command == NULL)
		(void)commands_report_unknown(argv[0]);
	else
		(void)command_process_run(command, &settings, shell->words.count, argv);
	return true;
}

static void run_lines(struct shell *shell) {
	for (;;) {
		HistEvent event;
		int size = 0;

		/* Before the prompt: until then Ctrl-D is the terminal's. */
		(void)el_set(shell->editor, EL_PREP_TERM, 1);
		const char *line = el_gets(shell->editor, &size);

		if (line == NULL && size < 0 && errno == EINTR) {
			(void)output_text("\n");
			el_reset(shell->editor);
			continue;
		}
		if (line == NULL || size <= 0)
			break;
		if (line[0] != '\n' && shell->history != NULL)
			(void)history(shell->history, &event, H_ENTER, line);
		(void)fflush(stdout);
		size_t length = (size_t)size - (line[size - 1] == '\n' ? 1 : 0);
		if (!run_line(shell, (struct kv_bytes){line, length}))
			return;
	}
	(void)output_text("\n");
}

int shell_run(const struct settings *settings) {
	struct shell shell = {.settings = settings, .completion.settings = settings};

	if (!open_editor(&shell))
		return error_report(CODE_REFUSED, NULL, "cannot edit lines on this terminal");
	if (!settings->is_quiet)
		(void)output_text("kvctl %s: help lists the commands, Tab completes them and keys, "
				  "exit ends\n",
				  kv_version());
	run_lines(&shell);
	close_history(&shell);
	el_end(shell.editor);
	words_free(&shell.words);
	completion_free(&shell.completion);
	return CODE_DONE;
}
