/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ACL_FILE_H
#define ACL_FILE_H

/*
 * acl_file.h - the file of access rules (kvd.acl(5)): who may write it, and what it says. Names of
 * users and groups are looked up while it is read, so that may take as long as their directory
 * service does.
 */

#include <stdbool.h>

struct acl;

/*
 * Reads the rules; freed with acl_free(). NULL: one line was logged, which begins with `what` and
 * says what is wrong and what to do.
 */
struct acl *acl_file_read(const char *path, const char *what);

/*
 * Prints which line of the file decides what `who` (uid:USER, cert:NAME, host:ADDRESS, any) may do
 * with the key, and the right. False: logged.
 */
bool acl_file_explain(const char *path, const char *who, const char *key);

#endif
