/* SPDX-License-Identifier: BSD-3-Clause */
/* Any text: what is read as an address is written, read and written again as the same. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "fuzz.h"

static void check_again(const struct address *address) {
	char text[ADDRESS_TEXT_MAX];
	struct address again = {0};

	address_format(address, text);
	if (address_parse(text, &again) != NULL || again.kind != address->kind ||
	    again.is_tls != address->is_tls || again.port != address->port ||
	    strcmp(again.host, address->host) != 0 || strcmp(again.path, address->path) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct address list[ADDRESS_LIST_MAX];
	struct address address;
	size_t count = 0;
	char *text = malloc(size + 1);

	if (text == NULL)
		return 0;
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	if (address_parse(text, &address) == NULL)
		check_again(&address);
	if (address_parse_list(text, list, &count) == NULL)
		for (size_t i = 0; i < count; i++)
			check_again(&list[i]);
	free(text);
	return 0;
}
