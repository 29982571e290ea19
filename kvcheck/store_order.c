/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- Versions of keys that begin ----------------------------------------------------------------
 */

struct end {
	uint64_t return_ns;
	size_t call;
};

static int by_return(const void *a, const void *b) {
	const struct end *first = a;
	const struct end *second = b;

	return first->return_ns < second->return_ns ? -1 : first->return_ns > second->return_ns;
}

static bool is_done(const struct history_call *call) {
	return call->return_ns != HISTORY_OPEN && call->status == KV_OK && call->version != 0;
}

/* How many ends of the list returned before the time. */
static size_t ended_before(const struct end *ends, size_t count, uint64_t time_ns) {
	size_t low = 0;

	while (low < count) {
		size_t middle = low + (count - low) / 2;
		if (ends[middle].return_ns < time_ns)
			low = middle + 1;
		else
			count = middle;
	}
	return low;
}

static enum store_order report_floor(const struct history *history, size_t end, size_t begin,
				     struct checker_report *report) {
	const struct history_call *ended = history_at(history, end);
	const struct history_call *begun = history_at(history, begin);

	report->key = begun->key;
	(void)snprintf(report->reason, CHECKER_REASON_MAX,
		       "a key began at version %llu after a delete had spent version %llu",
		       (unsigned long long)begun->version, (unsigned long long)ended->version);
	report->calls = malloc(2 * sizeof(*report->calls));
	if (report->calls != NULL) {
		report->calls[report->call_count++] = end;
		report->calls[report->call_count++] = begin;
	}
	return STORE_NOT;
}

/* Of the deletes that returned before a key was made, none spent a version as high. */
static enum store_order check_floor(const struct history *history, struct checker_report *report) {
	size_t count = history_count(history);
	struct end *ends = malloc((count + 1) * sizeof(*ends));
	enum store_order order = STORE_ORDERED;
	size_t found = 0;

	if (ends == NULL)
		return STORE_NO_MEMORY;
	for (size_t i = 0; i < count; i++) {
		const struct history_call *call = history_at(history, i);
		if (call->op == HISTORY_DELETE && is_done(call))
			ends[found++] = (struct end){call->return_ns, i};
	}
	qsort(ends, found, sizeof(*ends), by_return);
	/* Each becomes the highest of those up to it. */
	for (size_t i = 1; i < found; i++)
		if (history_at(history, ends[i - 1].call)->version >
		    history_at(history, ends[i].call)->version)
			ends[i].call = ends[i - 1].call;
	for (size_t i = 0; i < count && order == STORE_ORDERED; i++) {
		const struct history_call *call = history_at(history, i);
		if (!history_is_write(call->op) || call->expected != 0 || !is_done(call))
			continue;
		size_t before = ended_before(ends, found, call->call_ns);
		if (before > 0 &&
		    history_at(history, ends[before - 1].call)->version >= call->version)
			order = report_floor(history, ends[before - 1].call, i, report);
	}
	free(ends);
	return order;
}

/* --- Transactions -------------------------------------------------------------------------------
 */

/*
 * What comes before what, as a graph. Its nodes are the calls, all parts of a transaction being
 * one; for each version of a key of which an answer tells, its beginning and its end, between which
 * stand those who saw it; the moments at which calls returned; and the positions. So there are few
 * edges, and if it has a cycle, no order explains the history.
 */
struct graph {
	uint32_t *heads; /* of each node: its first edge + 1 */
	struct edge {
		uint32_t to;
		uint32_t next; /* + 1; 0: none */
	} * edges;
	size_t edge_count;
	size_t edge_room;
	size_t node_count;
	bool has_failed;
};

static uint32_t add_node(struct graph *graph) {
	return (uint32_t)graph->node_count++;
}

static void add_edge(struct graph *graph, uint32_t from, uint32_t to) {
	if (graph->edge_count == graph->edge_room) {
		graph->has_failed = true;
		return;
	}
	graph->edges[graph->edge_count++] = (struct edge){.to = to, .next = graph->heads[from]};
	graph->heads[from] = (uint32_t)graph->edge_count;
}

/* A call as it stands in one of the orders that are known. */
struct place {
	size_t key;
	uint64_t rank; /* in that order */
	uint32_t node;
};

static int by_place(const void *a, const void *b) {
	const struct place *first = a;
	const struct place *second = b;

	if (first->key != second->key)
		return first->key < second->key ? -1 : 1;
	if (first->rank != second->rank)
		return first->rank < second->rank ? -1 : 1;
	return first->node < second->node ? -1 : first->node > second->node;
}

static bool is_answered(const struct history_call *call) {
	return history_outcome(call) == HISTORY_DEFINITE;
}

static int by_call(const struct history *history, size_t a, size_t b) {
	const struct history_call *first = history_at(history, a);
	const struct history_call *second = history_at(history, b);

	if (first->client != second->client)
		return first->client < second->client ? -1 : 1;
	if (first->call_ns != second->call_ns)
		return first->call_ns < second->call_ns ? -1 : 1;
	return 0;
}

static int compare_calls(const void *a, const void *b, void *context) {
	size_t first = *(const size_t *)a;
	size_t second = *(const size_t *)b;
	int order = by_call(context, first, second);

	return order != 0 ? order : first < second ? -1 : first > second;
}

/* A node for each call, and for each transaction one. */
static bool make_nodes(struct graph *graph, const struct history *history, uint32_t *nodes,
		       size_t *calls) {
	size_t count = history_count(history);
	size_t *order = malloc((count + 1) * sizeof(*order));

	if (order == NULL)
		return false;
	for (size_t i = 0; i < count; i++)
		order[i] = i;
	qsort_r(order, count, sizeof(*order), compare_calls, (void *)(uintptr_t)history);
	for (size_t i = 0; i < count; i++) {
		bool is_part = i > 0 && history_at(history, order[i])->part != 0 &&
			       history_at(history, order[i - 1])->part != 0 &&
			       by_call(history, order[i - 1], order[i]) == 0;
		nodes[order[i]] = is_part ? nodes[order[i - 1]] : add_node(graph);
		calls[nodes[order[i]]] = order[i];
	}
	free(order);
	return true;
}

/* Each stands after the moments at which others had returned, and before the moment of its own. */
static void add_times(struct graph *graph, const struct history *history, const uint32_t *nodes,
		      struct end *moments) {
	size_t count = 0;
	uint32_t first;

	for (size_t i = 0; i < history_count(history); i++)
		if (is_answered(history_at(history, i)))
			moments[count++] = (struct end){history_at(history, i)->return_ns, i};
	qsort(moments, count, sizeof(*moments), by_return);
	first = (uint32_t)graph->node_count;
	graph->node_count += count;
	for (size_t i = 0; i < count; i++) {
		const struct history_call *call = history_at(history, moments[i].call);
		size_t before = ended_before(moments, count, call->call_ns);
		add_edge(graph, nodes[moments[i].call], first + (uint32_t)i);
		if (i > 0)
			add_edge(graph, first + (uint32_t)i - 1, first + (uint32_t)i);
		if (before > 0)
			add_edge(graph, first + (uint32_t)before - 1, nodes[moments[i].call]);
	}
}

/* Which call ends the version of this place: the write of the next one; UINT32_MAX: none is known.
 */
static uint32_t ended_by(const struct place *places, size_t count, size_t index) {
	size_t next = index;

	while (next < count && places[next].key == places[index].key &&
	       places[next].rank / 2 == places[index].rank / 2)
		next++;
	return next < count && places[next].key == places[index].key && places[next].rank % 2 == 0
		   ? places[next].node
		   : UINT32_MAX;
}

/*
 * The places of one key, or the positions, in their order: of each rank there are writes, with 2v,
 * and those that see what was written, with 2v + 1. A transaction may end the version that it saw.
 */
static void add_places(struct graph *graph, const struct place *places, size_t count) {
	uint32_t begin = 0;
	uint32_t end = 0;
	uint32_t writer = UINT32_MAX;

	for (size_t i = 0; i < count; i++) {
		bool is_first = i == 0 || places[i].key != places[i - 1].key;
		if (is_first || places[i].rank / 2 != places[i - 1].rank / 2) {
			uint32_t before = end;
			writer = ended_by(places, count, i);
			begin = add_node(graph);
			end = add_node(graph);
			add_edge(graph, begin, end);
			if (!is_first)
				add_edge(graph, before, begin);
			if (!is_first && places[i].rank % 2 == 0)
				add_edge(graph, before, places[i].node);
		}
		if (places[i].rank % 2 == 0) {
			add_edge(graph, places[i].node, begin);
		} else {
			add_edge(graph, begin, places[i].node);
			if (places[i].node != writer)
				add_edge(graph, places[i].node, end);
		}
	}
}

static bool changes_version(const struct history_call *call) {
	return call->op == HISTORY_PUT || call->op == HISTORY_APPEND || call->op == HISTORY_DELETE;
}

static bool add_orders(struct graph *graph, const struct history *history, const uint32_t *nodes) {
	size_t count = history_count(history);
	struct place *places = malloc((2 * count + 1) * sizeof(*places));
	size_t made = 0;

	if (places == NULL)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct history_call *call = history_at(history, i);
		bool is_free = call->op == HISTORY_CHECK && call->test == HISTORY_FREE;
		if (!is_answered(call))
			continue;
		if (call->status != KV_NOKEY && call->version != 0 &&
		    !(is_free && call->status == KV_OK))
			places[made++] = (struct place){
			    .key = history_key_of(history, i),
			    .rank = 2 * call->version +
				    !(changes_version(call) && call->status == KV_OK),
			    .node = nodes[i],
			};
		if (call->status == KV_OK && call->position != 0)
			places[made++] = (struct place){
			    .key = SIZE_MAX,
			    .rank = 2 * call->position,
			    .node = nodes[i],
			};
	}
	qsort(places, made, sizeof(*places), by_place);
	/* Another part of the same call, at the same rank. */
	size_t kept = 0;
	for (size_t i = 0; i < made; i++)
		if (kept == 0 || by_place(&places[kept - 1], &places[i]) != 0)
			places[kept++] = places[i];
	add_places(graph, places, kept);
	free(places);
	return true;
}

/* Takes away what nothing comes before, again and again: of `before`, what is left is not 0. */
static bool has_cycle(const struct graph *graph, uint32_t *before, uint32_t *queue) {
	size_t taken = 0;
	size_t count = 0;

	memset(before, 0, graph->node_count * sizeof(*before));
	for (size_t i = 0; i < graph->edge_count; i++)
		before[graph->edges[i].to]++;
	for (size_t i = 0; i < graph->node_count; i++)
		if (before[i] == 0)
			queue[count++] = (uint32_t)i;
	while (taken < count) {
		for (uint32_t at = graph->heads[queue[taken++]]; at != 0;
		     at = graph->edges[at - 1].next)
			if (--before[graph->edges[at - 1].to] == 0)
				queue[count++] = graph->edges[at - 1].to;
	}
	return count < graph->node_count;
}

static int compare_times(const void *a, const void *b, void *context) {
	const struct history *history = context;
	uint64_t first = history_at(history, *(const size_t *)a)->call_ns;
	uint64_t second = history_at(history, *(const size_t *)b)->call_ns;

	return first < second ? -1 : first > second;
}

/* The calls of a cycle: from any node that is left, back along what comes before it. */
static void tell_cycle(const struct graph *graph, const size_t *calls, size_t call_nodes,
		       const uint32_t *before, const struct history *history,
		       struct checker_report *report) {
	uint32_t *from = calloc(graph->node_count, sizeof(*from));
	uint32_t node = 0;

	report->calls = malloc((call_nodes + 1) * sizeof(*report->calls));
	for (uint32_t i = 0; from != NULL && i < graph->node_count; i++)
		for (uint32_t at = before[i] == 0 ? 0 : graph->heads[i]; at != 0;
		     at = graph->edges[at - 1].next)
			from[graph->edges[at - 1].to] = i;
	while (before[node] == 0)
		node++;
	/* After as many steps as there are nodes it is in a cycle. */
	for (size_t i = 0; from != NULL && i < graph->node_count; i++)
		node = from[node];
	uint32_t start = node;
	do {
		if (node < call_nodes && report->calls != NULL)
			report->calls[report->call_count++] = calls[node];
		node = from != NULL ? from[node] : start;
	} while (node != start);
	qsort_r(report->calls, report->call_count, sizeof(*report->calls), compare_times,
		(void *)(uintptr_t)history);
	if (report->call_count > 0)
		report->key = history_at(history, report->calls[0])->key;
	free(from);
}

static enum store_order check_graph(struct graph *graph, const struct history *history,
				    uint32_t *nodes, size_t *calls, struct checker_report *report) {
	size_t count = history_count(history);
	struct end *moments = malloc((count + 1) * sizeof(*moments));
	uint32_t *before = malloc((6 * count + 1) * sizeof(*before));
	uint32_t *queue = malloc((6 * count + 1) * sizeof(*queue));
	enum store_order order = STORE_NO_MEMORY;
	size_t call_nodes;

	if (moments != NULL && before != NULL && queue != NULL &&
	    make_nodes(graph, history, nodes, calls)) {
		call_nodes = graph->node_count;
		add_times(graph, history, nodes, moments);
		if (add_orders(graph, history, nodes) && !graph->has_failed)
			order = has_cycle(graph, before, queue) ? STORE_NOT : STORE_ORDERED;
		if (order == STORE_NOT) {
			tell_cycle(graph, calls, call_nodes, before, history, report);
			(void)snprintf(report->reason, CHECKER_REASON_MAX,
				       "no order of the keys' versions, the transactions and the "
				       "times puts each call at one moment");
		}
	}
	free(moments);
	free(before);
	free(queue);
	return order;
}

/* Nodes: the calls, their moments, and two for each place of at most two. Edges: three for each. */
static enum store_order check_transactions(const struct history *history,
					   struct checker_report *report) {
	size_t count = history_count(history);
	struct graph graph = {.edge_room = 13 * count + 1};
	uint32_t *nodes = malloc((count + 1) * sizeof(*nodes));
	size_t *calls = malloc((count + 1) * sizeof(*calls));
	enum store_order order = STORE_NO_MEMORY;

	graph.heads = calloc(6 * count + 1, sizeof(*graph.heads));
	graph.edges = malloc(graph.edge_room * sizeof(*graph.edges));
	if (nodes != NULL && calls != NULL && graph.heads != NULL && graph.edges != NULL)
		order = check_graph(&graph, history, nodes, calls, report);
	free(graph.heads);
	free(graph.edges);
	free(nodes);
	free(calls);
	return order;
}

enum store_order store_order_check(const struct history *history, struct checker_report *report) {
	enum store_order order = STORE_ORDERED;
	bool has_transactions = false;

	if (history_has_ends(history))
		order = check_floor(history, report);
	for (size_t i = 0; i < history_count(history) && !has_transactions; i++)
		has_transactions = history_at(history, i)->part != 0;
	if (order == STORE_ORDERED && has_transactions)
		order = check_transactions(history, report);
	return order;
}
