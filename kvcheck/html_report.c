/* SPDX-License-Identifier: BSD-3-Clause */
/* html_report.c - report_html() of text_report.h: a timeline as SVG, and the calls as a table. */
#include <stdlib.h>
#include <string.h>

#include "format_call.h"
#include "text_report.h"

enum {
	STEP_WIDTH = 110, /* from one moment to the next */
	STEP_WIDTH_LEAST = 8,
	TIMELINE_WIDTH = 1100, /* steps become narrower above it */
	LANE_HEIGHT = 56,
	BAR_HEIGHT = 30,
	LEFT = 150, /* where time begins */
	TOP = 30,
	LETTER_WIDTH = 7,
	LABEL_MAX = 180,
};

/* A call on the page. Moments are numbers of calls' and returns' times, in order. */
struct bar {
	const struct history_call *call;
	size_t first; /* its moments */
	size_t last;
	size_t lane;
};

struct page {
	FILE *file;
	struct bar *bars;
	size_t count;
	uint64_t *times_ns; /* of the moments */
	size_t moments;
	size_t *lane_ends; /* the last moment of each lane */
	size_t lanes;
	uint64_t start_ns;
	size_t step_width;
};

/* --- Text
 * ----------------------------------------------------------------------------------------- */

static void put_escaped(FILE *file, const char *text) {
	for (; *text != '\0'; text++) {
		switch (*text) {
		case '<':
			(void)fputs("&lt;", file);
			break;
		case '>':
			(void)fputs("&gt;", file);
			break;
		case '&':
			(void)fputs("&amp;", file);
			break;
		case '"':
			(void)fputs("&quot;", file);
			break;
		case '\'':
			(void)fputs("&#39;", file);
			break;
		default:
			(void)fputc(*text, file);
		}
	}
}

static void put_time(const struct page *page, uint64_t time_ns) {
	if (time_ns == HISTORY_OPEN)
		(void)fputs("never", page->file);
	else
		(void)fprintf(page->file, "%.6f ms", (double)(time_ns - page->start_ns) / 1e6);
}

static const char *look_of(const struct history_call *call) {
	switch (history_outcome(call)) {
	case HISTORY_INDETERMINATE:
		return "maybe";
	case HISTORY_NO_EFFECT:
		return "nothing";
	case HISTORY_DEFINITE:
		break;
	}
	if (!history_is_write(call->op))
		return "get";
	return call->status == KV_OK ? "write" : "refused";
}

/* --- Where things stand
 * --------------------------------------------------------------------------- */

static int by_time(const void *a, const void *b) {
	uint64_t first = *(const uint64_t *)a;
	uint64_t second = *(const uint64_t *)b;

	return first < second ? -1 : first > second;
}

static size_t moment_of(const struct page *page, uint64_t time_ns) {
	const uint64_t *found =
	    bsearch(&time_ns, page->times_ns, page->moments, sizeof(time_ns), by_time);

	/* What never ends does so after all moments. */
	return found != NULL ? (size_t)(found - page->times_ns) : page->moments;
}

static bool ends(const struct history_call *call) {
	return history_outcome(call) == HISTORY_DEFINITE;
}

static void find_moments(struct page *page) {
	size_t count = 0;

	for (size_t i = 0; i < page->count; i++) {
		const struct history_call *call = page->bars[i].call;
		page->times_ns[count++] = call->call_ns;
		if (call->return_ns != HISTORY_OPEN)
			page->times_ns[count++] = call->return_ns;
	}
	qsort(page->times_ns, count, sizeof(*page->times_ns), by_time);
	for (size_t i = 0; i < count; i++) {
		if (page->moments == 0 || page->times_ns[page->moments - 1] != page->times_ns[i])
			page->times_ns[page->moments++] = page->times_ns[i];
	}
	for (size_t i = 0; i < page->count; i++) {
		struct bar *bar = &page->bars[i];
		bar->first = moment_of(page, bar->call->call_ns);
		bar->last = ends(bar->call) ? moment_of(page, bar->call->return_ns) : page->moments;
	}
}

static int by_lane(const void *a, const void *b) {
	const struct bar *first = a;
	const struct bar *second = b;

	if (first->call->client != second->call->client)
		return first->call->client < second->call->client ? -1 : 1;
	return first->first < second->first ? -1 : first->first > second->first;
}

/* A client has a lane, and more if its calls overlap. */
static void find_lanes(struct page *page) {
	size_t client_lane = 0;

	qsort(page->bars, page->count, sizeof(*page->bars), by_lane);
	for (size_t i = 0; i < page->count; i++) {
		struct bar *bar = &page->bars[i];
		if (i > 0 && bar->call->client != bar[-1].call->client)
			client_lane = page->lanes;
		bar->lane = client_lane;
		while (bar->lane < page->lanes && page->lane_ends[bar->lane] > bar->first)
			bar->lane++;
		if (bar->lane == page->lanes)
			page->lanes++;
		page->lane_ends[bar->lane] = bar->last;
	}
}

static size_t place_of(const struct page *page, size_t moment) {
	return LEFT + moment * page->step_width;
}

/* --- The page
 * ------------------------------------------------------------------------------------- */

static const char style[] =
    "body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1400px;padding:0 1em;"
    "color:#1c2430;background:#fff}"
    "h1{font-size:1.35em;margin:0 0 .3em}h1 b{color:#b3261e}p{margin:.3em 0 1em}"
    "div{overflow-x:auto}svg{display:block}text{font:12px ui-monospace,monospace;fill:#1c2430}"
    "svg .name{font-weight:bold}.grid{stroke:#d5dae1;stroke-dasharray:2 4}"
    ".lane{stroke:#eceff3}"
    ".bar rect{stroke-width:1.5;rx:4}.bar:hover rect{stroke-width:3}"
    ".write rect{fill:#cfe3ff;stroke:#2f6fd0}.get rect{fill:#d8f2da;stroke:#2f8f46}"
    ".refused rect{fill:#ececf0;stroke:#767c88}"
    ".maybe rect{fill:#fff0cc;stroke:#c08a00;stroke-dasharray:5 3}"
    ".nothing rect{fill:#f6f6f6;stroke:#bbb}"
    "table{border-collapse:collapse;margin-top:1.5em}td,th{text-align:left;padding:.25em .9em "
    ".25em 0;border-bottom:1px solid #e3e7ec;vertical-align:top}td{font:13px "
    "ui-monospace,monospace}"
    "ul{list-style:none;padding:0}li{display:inline-block;margin-right:1.4em}"
    "li span{display:inline-block;width:1.1em;height:.8em;margin-right:.4em;border:1.5px solid}"
    "@media(prefers-color-scheme:dark){body{background:#14181f;color:#dfe5ee}"
    ".grid{stroke:#39424f}.lane{stroke:#242b35}svg>text{fill:#dfe5ee}"
    "td,th{border-color:#2a323d}h1 b{color:#ff8a80}}";

static const char legend[] =
    "<ul><li><span style=\"background:#cfe3ff;border-color:#2f6fd0\"></span>write</li>"
    "<li><span style=\"background:#d8f2da;border-color:#2f8f46\"></span>get</li>"
    "<li><span style=\"background:#ececf0;border-color:#767c88\"></span>refused write</li>"
    "<li><span style=\"background:#fff0cc;border:1.5px dashed #c08a00\"></span>write without an "
    "answer: takes effect at any time after it began, or never</li></ul>\n";

static void put_head(const struct page *page, const struct history *history,
		     const struct checker_report *report) {
	char key[DESCRIBE_BYTES_MAX];
	bool is_not = report->verdict == CHECKER_NOT;

	describe_bytes(report->key, key);
	(void)fprintf(page->file,
		      "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
		      "<meta http-equiv=\"Content-Security-Policy\" "
		      "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
		      "<meta name=\"viewport\" content=\"width=device-width\">\n"
		      "<title>kvcheck</title>\n<style>%s</style>\n",
		      style);
	if (report->verdict == CHECKER_LINEARIZABLE) {
		(void)fprintf(page->file, "<h1>linearizable</h1>\n<p>%zu calls on %zu keys.</p>\n",
			      history_count(history), report->keys);
		return;
	}
	(void)fprintf(page->file, "<h1><b>%s</b>: key ", is_not ? "not linearizable" : "undecided");
	put_escaped(page->file, key);
	(void)fputs("</h1>\n<p>", page->file);
	put_escaped(page->file, report->reason);
	(void)fputs(".</p>\n", page->file);
	if (is_not && report->is_of_keys)
		(void)fprintf(page->file, "<p>%zu of %zu calls cannot be ordered.</p>\n",
			      report->call_count, history_count(history));
	else if (is_not)
		(void)fprintf(
		    page->file,
		    "<p>%zu of %zu calls%s cannot be ordered. Before them the key was at "
		    "version %llu%s. Time runs to the right, each step from one beginning "
		    "or end of a call to the next.</p>\n",
		    report->call_count, history_count(history),
		    report->is_shortest ? ", no fewer," : "",
		    (unsigned long long)report->start_version,
		    report->start_version == 0 ? " (missing)" : "");
}

/* What fits into the bar. */
static void put_label(const struct page *page, const struct bar *bar, size_t width) {
	char what[DESCRIBE_BYTES_MAX];
	char label[LABEL_MAX];
	const struct history_call *call = bar->call;
	size_t letters = width / LETTER_WIDTH > 1 ? width / LETTER_WIDTH - 1 : 0;

	if (call->op == HISTORY_GET && call->has_got)
		describe_bytes(call->got, what);
	else if (call->op == HISTORY_GET)
		(void)snprintf(what, sizeof(what), "%s", kv_status_name(call->status));
	else
		describe_bytes(call->value, what);
	if (call->version != 0 && ends(call))
		(void)snprintf(label, sizeof(label), "%s v%llu %s", history_op_name(call->op),
			       (unsigned long long)call->version, what);
	else
		(void)snprintf(label, sizeof(label), "%s %s", history_op_name(call->op), what);
	if (letters < strlen(label))
		label[letters] = '\0';
	put_escaped(page->file, label);
}

static void put_bar(const struct page *page, const struct bar *bar) {
	char what[DESCRIBE_CALL_MAX];
	char answer[DESCRIBE_CALL_MAX];
	size_t left = place_of(page, bar->first);
	size_t width = place_of(page, bar->last) - left;
	size_t top = TOP + bar->lane * LANE_HEIGHT + (LANE_HEIGHT - BAR_HEIGHT) / 2;

	if (width < 4)
		width = 4;
	describe_call(bar->call, what);
	describe_answer(bar->call, answer);
	(void)fprintf(page->file, "<g class=\"bar %s\"><title>client %llu, ", look_of(bar->call),
		      (unsigned long long)bar->call->client);
	put_time(page, bar->call->call_ns);
	(void)fputs(" to ", page->file);
	put_time(page, bar->call->return_ns);
	(void)fputs(":\n", page->file);
	put_escaped(page->file, what);
	(void)fputs("\n", page->file);
	put_escaped(page->file, answer);
	(void)fprintf(page->file,
		      "</title><rect x=\"%zu\" y=\"%zu\" width=\"%zu\" height=\"%d\"/>"
		      "<text x=\"%zu\" y=\"%zu\">",
		      left, top, width, BAR_HEIGHT, left + 5, top + BAR_HEIGHT / 2 + 4);
	put_label(page, bar, width);
	(void)fputs("</text></g>\n", page->file);
}

static void put_timeline(const struct page *page) {
	size_t width = place_of(page, page->moments) + 20;
	size_t height = TOP + page->lanes * LANE_HEIGHT + 10;

	(void)fprintf(page->file,
		      "<div><svg width=\"%zu\" height=\"%zu\" role=\"img\" "
		      "aria-label=\"timeline\">\n",
		      width, height);
	for (size_t i = 0; i < page->moments; i++)
		(void)fprintf(page->file,
			      "<line class=\"grid\" x1=\"%zu\" x2=\"%zu\" y1=\"%d\" y2=\"%zu\"/>\n",
			      place_of(page, i), place_of(page, i), TOP - 8, height - 8);
	for (size_t i = 0; i < page->count; i++) {
		const struct bar *bar = &page->bars[i];
		size_t top = TOP + bar->lane * LANE_HEIGHT;
		if (i > 0 && bar[-1].lane == bar->lane)
			continue;
		(void)fprintf(page->file,
			      "<line class=\"lane\" x1=\"0\" x2=\"%zu\" y1=\"%zu\" y2=\"%zu\"/>",
			      width, top, top);
		if (i == 0 || bar[-1].call->client != bar->call->client)
			(void)fprintf(page->file,
				      "<text class=\"name\" x=\"4\" y=\"%d\">client</text>"
				      "<text x=\"4\" y=\"%zu\">%llu</text>\n",
				      (int)top + LANE_HEIGHT / 2 - 4, top + LANE_HEIGHT / 2 + 12,
				      (unsigned long long)bar->call->client);
	}
	for (size_t i = 0; i < page->count; i++)
		put_bar(page, &page->bars[i]);
	(void)fputs("</svg></div>\n", page->file);
	(void)fputs(legend, page->file);
}

static void put_row(const struct page *page, const struct history_call *call) {
	char text[DESCRIBE_CALL_MAX];

	(void)fprintf(page->file, "<tr><td>%llu<td>", (unsigned long long)call->client);
	put_time(page, call->call_ns);
	(void)fputs("<td>", page->file);
	put_time(page, call->return_ns);
	(void)fputs("<td>", page->file);
	describe_call(call, text);
	put_escaped(page->file, text);
	(void)fputs("<td>", page->file);
	describe_answer(call, text);
	put_escaped(page->file, text);
	(void)fputs("\n", page->file);
}

static void put_table(const struct page *page, const struct history *history,
		      const struct checker_report *report) {
	(void)fputs("<div><table><tr><th>client<th>call<th>return<th>what<th>answer\n", page->file);
	for (size_t i = 0; i < page->count; i++)
		put_row(page, history_at(history, report->calls[i]));
	(void)fputs("</table></div>\n", page->file);
	if (report->call_count > page->count)
		(void)fprintf(page->file, "<p>... and %zu more.</p>\n",
			      report->call_count - page->count);
}

static bool lay_out(struct page *page, const struct history *history,
		    const struct checker_report *report) {
	page->bars = calloc(page->count + 1, sizeof(*page->bars));
	page->times_ns = calloc(2 * page->count + 1, sizeof(*page->times_ns));
	page->lane_ends = calloc(page->count + 1, sizeof(*page->lane_ends));
	if (page->bars == NULL || page->times_ns == NULL || page->lane_ends == NULL)
		return false;
	for (size_t i = 0; i < page->count; i++)
		page->bars[i].call = history_at(history, report->calls[i]);
	if (page->count > 0)
		page->start_ns = page->bars[0].call->call_ns;
	find_moments(page);
	find_lanes(page);
	page->step_width = TIMELINE_WIDTH / (page->moments + 1);
	if (page->step_width > STEP_WIDTH)
		page->step_width = STEP_WIDTH;
	if (page->step_width < STEP_WIDTH_LEAST)
		page->step_width = STEP_WIDTH_LEAST;
	return true;
}

bool report_html(FILE *file, const struct history *history, const struct checker_report *report) {
	struct page page = {.file = file, .count = report->call_count};
	bool is_laid_out;

	if (page.count > REPORT_CALLS_MAX)
		page.count = REPORT_CALLS_MAX;
	is_laid_out = lay_out(&page, history, report);
	if (is_laid_out) {
		put_head(&page, history, report);
		if (page.count > 0) {
			put_timeline(&page);
			put_table(&page, history, report);
		}
	}
	free(page.bars);
	free(page.times_ns);
	free(page.lane_ends);
	return is_laid_out && fflush(file) == 0 && !ferror(file);
}
