/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/key_index.h"

#include <assert.h>

enum {
	LEAF_MAX = 62,	/* elements: with its count, and malloc's header, 512 bytes */
	INNER_MAX = 64, /* children */
	MERGE_MAX = 46, /* two neighbours with no more than this become one: three quarters */
};

/* Bytes that are at or before every key behind them, and behind every key before them. */
struct separator {
	uint16_t size;
	unsigned char bytes[];
};

struct leaf {
	size_t count;
	void *elements[LEAF_MAX];
};

/*
 * heads[n] is eight bytes of separator n as a number, those behind the `shared` bytes with which
 * all separators of the node begin: most searches look at nothing else.
 */
struct inner {
	size_t count;  /* children; one more than separators */
	size_t shared; /* bytes */
	uint64_t heads[INNER_MAX - 1];
	struct separator *separators[INNER_MAX - 1];
	void *children[INNER_MAX];
};

/* --- Bytes in order ------------------------------------------------------------------------ */

static size_t shared_size(struct kv_bytes a, struct kv_bytes b) {
	const unsigned char *left = a.data;
	const unsigned char *right = b.data;
	size_t size = 0;

	while (size < a.size && size < b.size && left[size] == right[size])
		size++;
	return size;
}

static struct kv_bytes bytes_of(const struct separator *separator) {
	return (struct kv_bytes){separator->bytes, separator->size};
}

/* Eight bytes behind the first `skip`, in the order of memcmp(); what is missing counts as 0. */
static uint64_t head_of(struct kv_bytes bytes, size_t skip) {
	const unsigned char *from = bytes.data;
	uint64_t head = 0;

	for (size_t i = 0; i < sizeof(head); i++)
		head = head << 8 | (skip + i < bytes.size ? from[skip + i] : 0);
	return head;
}

/* --- Separators ---------------------------------------------------------------------------- */

static size_t separator_size(size_t size) {
	return offsetof(struct separator, bytes) + size;
}

static void free_separator(struct key_index *index, struct separator *separator) {
	if (separator != NULL)
		mem_account_free(index->memory, separator, separator_size(separator->size));
}

static struct separator *make_spare_separator(struct key_index *index) {
	struct separator *separator =
	    mem_account_alloc(index->memory, separator_size(KEY_INDEX_KEY_MAX));

	if (separator != NULL)
		separator->size = KEY_INDEX_KEY_MAX;
	return separator;
}

/* The shortest one between two keys in a row. Takes a spare one. */
static struct separator *separate(struct key_index *index, const void *before, const void *behind) {
	struct kv_bytes key = index->key_of(behind);
	size_t size = shared_size(index->key_of(before), key) + 1;
	unsigned spare = index->spare_separator[1] != NULL;
	struct separator *separator = index->spare_separator[spare];

	index->spare_separator[spare] = NULL;
	separator->size = (uint16_t)size;
	memcpy(separator->bytes, key.data, size);
	void *smaller = mem_account_realloc(
	    index->memory, separator, separator_size(KEY_INDEX_KEY_MAX), separator_size(size));
	if (smaller != NULL)
		return smaller;
	/* It stays large, and counts as it is freed. */
	index->memory->used -= mem_account_cost(separator_size(KEY_INDEX_KEY_MAX));
	index->memory->used += mem_account_cost(separator_size(size));
	return separator;
}

/* --- Searching ----------------------------------------------------------------------------- */

/* The separators have changed. */
static void update_heads(struct inner *inner) {
	size_t separators = inner->count - 1;

	inner->shared = separators < 2 ? 0
				       : shared_size(bytes_of(inner->separators[0]),
						     bytes_of(inner->separators[separators - 1]));
	for (size_t i = 0; i < separators; i++)
		inner->heads[i] = head_of(bytes_of(inner->separators[i]), inner->shared);
}

/* The child in which this key is, or would be: how many separators are at or before it. */
static size_t child_for(const struct inner *inner, struct kv_bytes key) {
	size_t low = 0;
	size_t high = inner->count - 1;

	if (high == 0)
		return 0;
	if (inner->shared > 0) {
		const struct kv_bytes shared = {inner->separators[0]->bytes, inner->shared};
		size_t size = key.size < inner->shared ? key.size : inner->shared;
		int order = size == 0 ? 0 : memcmp(key.data, shared.data, size);

		if (order != 0)
			return order < 0 ? 0 : high;
		if (key.size < inner->shared)
			return 0;
	}
	uint64_t head = head_of(key, inner->shared);
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (inner->heads[middle] < head ||
		    (inner->heads[middle] == head &&
		     key_index_compare(bytes_of(inner->separators[middle]), key) <= 0))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* How many elements of the leaf are before this key. */
static size_t place_of(const struct key_index *index, const struct leaf *leaf,
		       struct kv_bytes key) {
	size_t low = 0;
	size_t high = leaf->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (key_index_compare(index->key_of(leaf->elements[middle]), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Where an element that is there stands: its pointer is looked for, no other key is read. */
static size_t place_of_element(const struct leaf *leaf, const void *element) {
	size_t place = 0;

	while (leaf->elements[place] != element) {
		place++;
		assert(place < leaf->count);
	}
	return place;
}

static struct leaf *leaf_for(const struct key_index *index, struct kv_bytes key) {
	void *node = index->root;

	for (unsigned level = index->height; level > 0; level--) {
		struct inner *inner = node;
		node = inner->children[child_for(inner, key)];
	}
	return node;
}

/* --- Making and freeing -------------------------------------------------------------------- */

bool key_index_init(struct key_index *index, struct mem_account *memory, key_index_key key_of) {
	struct leaf *root = mem_account_alloc(memory, sizeof(*root));

	if (root == NULL)
		return false;
	root->count = 0;
	*index = (struct key_index){.root = root, .key_of = key_of, .memory = memory};
	return true;
}

static void free_nodes(struct key_index *index, void *node, unsigned level) {
	if (level == 0) {
		mem_account_free(index->memory, node, sizeof(struct leaf));
		return;
	}
	struct inner *inner = node;
	for (size_t i = 0; i < inner->count; i++)
		free_nodes(index, inner->children[i], level - 1);
	for (size_t i = 0; i + 1 < inner->count; i++)
		free_separator(index, inner->separators[i]);
	mem_account_free(index->memory, inner, sizeof(*inner));
}

static void free_spares(struct key_index *index) {
	mem_account_free(index->memory, index->spare_leaf, sizeof(struct leaf));
	index->spare_leaf = NULL;
	while (index->spare_inner_count > 0)
		mem_account_free(index->memory, index->spare_inner[--index->spare_inner_count],
				 sizeof(struct inner));
	for (unsigned i = 0; i < 2; i++) {
		free_separator(index, index->spare_separator[i]);
		index->spare_separator[i] = NULL;
	}
}

void key_index_destroy(struct key_index *index) {
	free_nodes(index, index->root, index->height);
	free_spares(index);
	*index = (struct key_index){0};
}

/*
 * An insert into a full leaf takes one leaf and two separators, and an inner node for each level,
 * of which all may be full, and for a new root.
 */
size_t key_index_reserve_cost(const struct key_index *index, struct kv_bytes key) {
	size_t cost = 0;

	if (leaf_for(index, key)->count < LEAF_MAX)
		return 0;
	if (index->spare_leaf == NULL)
		cost += mem_account_cost(sizeof(struct leaf));
	cost += ((index->spare_separator[0] == NULL) + (index->spare_separator[1] == NULL)) *
		mem_account_cost(separator_size(KEY_INDEX_KEY_MAX));
	if (index->spare_inner_count <= index->height)
		cost += (index->height + 1 - index->spare_inner_count) *
			mem_account_cost(sizeof(struct inner));
	return cost;
}

bool key_index_reserve_one(struct key_index *index, struct kv_bytes key) {
	if (leaf_for(index, key)->count < LEAF_MAX)
		return true;
	if (index->spare_leaf == NULL &&
	    (index->spare_leaf = mem_account_alloc(index->memory, sizeof(struct leaf))) == NULL)
		return false;
	for (unsigned i = 0; i < 2; i++) {
		if (index->spare_separator[i] == NULL)
			index->spare_separator[i] = make_spare_separator(index);
		if (index->spare_separator[i] == NULL)
			return false;
	}
	while (index->spare_inner_count < index->height + 1) {
		void *inner = mem_account_alloc(index->memory, sizeof(struct inner));

		if (inner == NULL)
			return false;
		index->spare_inner[index->spare_inner_count++] = inner;
	}
	return true;
}

static struct inner *take_inner(struct key_index *index) {
	assert(index->spare_inner_count > 0);
	return index->spare_inner[--index->spare_inner_count];
}

/* --- Inserting ----------------------------------------------------------------------------- */

/* Adds a child behind child `at`, and the separator before it. There is room for it. */
static void add_child(struct inner *inner, size_t at, struct separator *separator, void *child) {
	size_t behind = inner->count - at - 1;

	memmove(&inner->children[at + 2], &inner->children[at + 1],
		behind * sizeof(inner->children[0]));
	memmove(&inner->separators[at + 1], &inner->separators[at],
		behind * sizeof(inner->separators[0]));
	inner->children[at + 1] = child;
	inner->separators[at] = separator;
	inner->count++;
	update_heads(inner);
}

/* The full inner node `at` of `parent` becomes two. */
static void split_inner(struct key_index *index, struct inner *parent, size_t at) {
	struct inner *left = parent->children[at];
	struct inner *right = take_inner(index);
	size_t kept = left->count / 2;

	right->count = left->count - kept;
	memcpy(right->children, &left->children[kept], right->count * sizeof(left->children[0]));
	memcpy(right->separators, &left->separators[kept],
	       (right->count - 1) * sizeof(left->separators[0]));
	left->count = kept;
	update_heads(left);
	update_heads(right);
	add_child(parent, at, left->separators[kept - 1], right);
}

static void set_separator(struct key_index *index, struct inner *parent, size_t at) {
	const struct leaf *left = parent->children[at];
	const struct leaf *right = parent->children[at + 1];

	free_separator(index, parent->separators[at]);
	parent->separators[at] =
	    separate(index, left->elements[left->count - 1], right->elements[0]);
	update_heads(parent);
}

/* Leaf `at` and the one behind it hold the same number of elements afterwards, or nearly so. */
static void balance(struct key_index *index, struct inner *parent, size_t at) {
	struct leaf *left = parent->children[at];
	struct leaf *right = parent->children[at + 1];
	void *elements[2 * LEAF_MAX];
	size_t count = left->count + right->count;

	memcpy(elements, left->elements, left->count * sizeof(elements[0]));
	memcpy(elements + left->count, right->elements, right->count * sizeof(elements[0]));
	left->count = count / 2;
	right->count = count - left->count;
	memcpy(left->elements, elements, left->count * sizeof(elements[0]));
	memcpy(right->elements, elements + left->count, right->count * sizeof(elements[0]));
	set_separator(index, parent, at);
}

/* Two full leaves become three: leaf `at`, a new one, and the one that was behind it. */
static void split_two(struct key_index *index, struct inner *parent, size_t at) {
	enum { KEPT = 2 * LEAF_MAX / 3, MOVED = LEAF_MAX - KEPT };
	struct leaf *left = parent->children[at];
	struct leaf *right = parent->children[at + 1];
	struct leaf *middle = index->spare_leaf;

	index->spare_leaf = NULL;
	memcpy(middle->elements, &left->elements[KEPT], MOVED * sizeof(left->elements[0]));
	memcpy(&middle->elements[MOVED], right->elements, MOVED * sizeof(left->elements[0]));
	memmove(right->elements, &right->elements[MOVED], KEPT * sizeof(left->elements[0]));
	left->count = KEPT;
	middle->count = (size_t)2 * MOVED;
	right->count = KEPT;
	add_child(parent, at, separate(index, left->elements[KEPT - 1], middle->elements[0]),
		  middle);
	set_separator(index, parent, at + 1);
}

/* The full leaf `at` becomes two, the second with `moved` elements, or with this one alone. */
static void split_one(struct key_index *index, struct inner *parent, size_t at, void *element) {
	struct leaf *left = parent->children[at];
	struct leaf *right = index->spare_leaf;

	index->spare_leaf = NULL;
	if (element != NULL) {
		right->elements[0] = element;
		right->count = 1;
	} else {
		left->count = LEAF_MAX / 2;
		right->count = LEAF_MAX - left->count;
		memcpy(right->elements, &left->elements[left->count],
		       right->count * sizeof(left->elements[0]));
	}
	add_child(parent, at, separate(index, left->elements[left->count - 1], right->elements[0]),
		  right);
}

static void add_root(struct key_index *index) {
	struct inner *root = take_inner(index);

	assert(index->height < KEY_INDEX_HEIGHT_MAX);
	root->count = 1;
	root->children[0] = index->root;
	update_heads(root);
	index->root = root;
	index->height++;
}

static void insert_into(struct key_index *index, struct leaf *leaf, void *element) {
	size_t at = place_of(index, leaf, index->key_of(element));

	memmove(&leaf->elements[at + 1], &leaf->elements[at],
		(leaf->count - at) * sizeof(leaf->elements[0]));
	leaf->elements[at] = element;
	leaf->count++;
}

/* The count of a child, which leaves and inner nodes begin with. */
static size_t count_of(const struct inner *parent, size_t at) {
	return *(const size_t *)parent->children[at];
}

/* One element of room would be asked for again at once. */
static bool has_room(const struct inner *parent, size_t at) {
	return count_of(parent, at) < LEAF_MAX - 2;
}

/* Inserts below `parent`, whose child `at` is the leaf for it, and full. */
static void insert_into_full(struct key_index *index, struct inner *parent, size_t at, bool is_last,
			     void *element) {
	const struct leaf *leaf = parent->children[at];
	struct kv_bytes key = index->key_of(element);

	if (is_last && key_index_compare(index->key_of(leaf->elements[LEAF_MAX - 1]), key) < 0) {
		split_one(index, parent, at, element);
		return;
	}
	if (at + 1 < parent->count && has_room(parent, at + 1))
		balance(index, parent, at);
	else if (at > 0 && has_room(parent, at - 1))
		balance(index, parent, at - 1);
	else if (at + 1 < parent->count && count_of(parent, at + 1) == LEAF_MAX)
		split_two(index, parent, at);
	else
		split_one(index, parent, at, NULL);
	insert_into(index, parent->children[child_for(parent, key)], element);
}

void key_index_insert(struct key_index *index, void *element) {
	struct kv_bytes key = index->key_of(element);
	struct inner *parent;
	bool is_last = true;
	size_t at;

	index->count++;
	struct leaf *leaf = leaf_for(index, key);
	if (leaf->count < LEAF_MAX) {
		insert_into(index, leaf, element);
		return;
	}
	/* From above, so that there is room for one more child in every node on the way. */
	if (index->height == 0 || ((struct inner *)index->root)->count == INNER_MAX)
		add_root(index);
	parent = index->root;
	for (unsigned level = index->height; level > 1; level--) {
		at = child_for(parent, key);
		if (((struct inner *)parent->children[at])->count == INNER_MAX) {
			split_inner(index, parent, at);
			at = child_for(parent, key);
		}
		is_last = is_last && at == parent->count - 1;
		parent = parent->children[at];
	}
	at = child_for(parent, key);
	insert_into_full(index, parent, at, is_last && at == parent->count - 1, element);
}

/* --- Removing ------------------------------------------------------------------------------ */

/* Removes child `at`, which was freed or moved, and returns the separator that goes with it. */
static struct separator *cut_child(struct inner *inner, size_t at) {
	size_t separator = at > 0 ? at - 1 : 0;
	struct separator *cut = inner->count > 1 ? inner->separators[separator] : NULL;

	memmove(&inner->children[at], &inner->children[at + 1],
		(inner->count - at - 1) * sizeof(inner->children[0]));
	if (inner->count > 2)
		memmove(&inner->separators[separator], &inner->separators[separator + 1],
			(inner->count - 2 - separator) * sizeof(inner->separators[0]));
	inner->count--;
	if (inner->count > 0)
		update_heads(inner);
	return cut;
}

static void merge_leaves(struct key_index *index, struct inner *parent, size_t at) {
	struct leaf *left = parent->children[at];
	struct leaf *right = parent->children[at + 1];

	memcpy(&left->elements[left->count], right->elements,
	       right->count * sizeof(left->elements[0]));
	left->count += right->count;
	mem_account_free(index->memory, right, sizeof(*right));
	free_separator(index, cut_child(parent, at + 1));
}

static void merge_inners(struct key_index *index, struct inner *parent, size_t at) {
	struct inner *left = parent->children[at];
	struct inner *right = parent->children[at + 1];

	left->separators[left->count - 1] = cut_child(parent, at + 1);
	memcpy(&left->children[left->count], right->children,
	       right->count * sizeof(left->children[0]));
	memcpy(&left->separators[left->count], right->separators,
	       (right->count - 1) * sizeof(left->separators[0]));
	left->count += right->count;
	update_heads(left);
	mem_account_free(index->memory, right, sizeof(*right));
}

/* Merges children `at` and the next, if both are there and small. */
static void merge_if_small(struct key_index *index, struct inner *parent, size_t at,
			   unsigned level) {
	if (at + 1 >= parent->count || count_of(parent, at) + count_of(parent, at + 1) > MERGE_MAX)
		return;
	if (level == 0)
		merge_leaves(index, parent, at);
	else
		merge_inners(index, parent, at);
}

/* After child `at`, of this level, has lost something. */
static void tidy(struct key_index *index, struct inner *parent, size_t at, unsigned level) {
	if (count_of(parent, at) == 0) {
		mem_account_free(index->memory, parent->children[at],
				 level == 0 ? sizeof(struct leaf) : sizeof(struct inner));
		free_separator(index, cut_child(parent, at));
		return;
	}
	merge_if_small(index, parent, at, level);
	if (at > 0)
		merge_if_small(index, parent, at - 1, level);
}

void key_index_remove(struct key_index *index, const void *element) {
	struct kv_bytes key = index->key_of(element);
	struct inner *path[KEY_INDEX_HEIGHT_MAX];
	size_t places[KEY_INDEX_HEIGHT_MAX];
	void *node = index->root;

	for (unsigned level = index->height; level > 0; level--) {
		path[level - 1] = node;
		places[level - 1] = child_for(node, key);
		node = path[level - 1]->children[places[level - 1]];
	}
	struct leaf *leaf = node;
	size_t at = place_of_element(leaf, element);
	memmove(&leaf->elements[at], &leaf->elements[at + 1],
		(leaf->count - at - 1) * sizeof(leaf->elements[0]));
	leaf->count--;
	index->count--;
	for (unsigned level = 0; level < index->height; level++)
		tidy(index, path[level], places[level], level);
	while (index->height > 0 && ((struct inner *)index->root)->count == 1) {
		struct inner *root = index->root;

		index->root = root->children[0];
		index->height--;
		mem_account_free(index->memory, root, sizeof(*root));
	}
	/* So that what is left of an index that was large is one leaf. */
	if (index->height == 0)
		free_spares(index);
}

void key_index_replace(struct key_index *index, const void *element, void *other) {
	struct leaf *leaf = leaf_for(index, index->key_of(element));

	leaf->elements[place_of_element(leaf, element)] = other;
}

/* --- Walking ------------------------------------------------------------------------------- */

/* What key_index_foreach() carries through the levels; `from` is for the first leaf only. */
struct walk {
	const struct key_index *index;
	struct kv_bytes from;
	bool is_after;
	bool is_begun;
	bool (*visit)(void *context, void *element);
	void *context;
};

static bool walk_leaf(struct walk *walk, const struct leaf *leaf) {
	size_t at = 0;

	if (!walk->is_begun) {
		at = place_of(walk->index, leaf, walk->from);
		at += walk->is_after && at < leaf->count &&
		      key_index_compare(walk->index->key_of(leaf->elements[at]), walk->from) == 0;
		walk->is_begun = true;
	}
	for (; at < leaf->count; at++)
		if (!walk->visit(walk->context, leaf->elements[at]))
			return false;
	return true;
}

static bool walk_node(struct walk *walk, const void *node, unsigned level) {
	if (level == 0)
		return walk_leaf(walk, node);
	const struct inner *inner = node;
	for (size_t at = walk->is_begun ? 0 : child_for(inner, walk->from); at < inner->count; at++)
		if (!walk_node(walk, inner->children[at], level - 1))
			return false;
	return true;
}

bool key_index_foreach(const struct key_index *index, struct kv_bytes from, bool is_after,
		       bool (*visit)(void *context, void *element), void *context) {
	struct walk walk = {
	    .index = index,
	    .from = from,
	    .is_after = is_after,
	    .visit = visit,
	    .context = context,
	};

	return walk_node(&walk, index->root, index->height);
}
