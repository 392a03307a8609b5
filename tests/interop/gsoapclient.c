/* A client in C around what gSOAP makes of the WSDL: client URL CERTIFICATE USER PASSWORD OPERATION.
 *
 * Standard input is the operation's element, which gSOAP reads into its struct; the struct is what is sent, and what comes back
 * into the reply's struct is written to standard output. A fault ends it with code 1, its code and text on standard error.
 * operations.h holds OPERATION(name) for each operation of the WSDL.
 */
#include <string.h>
#include "soapH.h"
#include "DtcXen.nsmap"

#define OPERATION(name) \
    static int call_##name(struct soap *node, struct soap *files, const char *url) \
    { \
        struct ns1__##name given; \
        struct ns1__##name##Response told; \
        soap_default_ns1__##name(files, &given); \
        soap_default_ns1__##name##Response(node, &told); \
        if (soap_read_ns1__##name(files, &given)) { soap_print_fault(files, stderr); return 2; } \
        if (soap_call___ns1__##name(node, url, NULL, &given, &told)) return 1; \
        return soap_write_ns1__##name##Response(files, &told) ? 2 : 0; \
    }
#include "operations.h"
#undef OPERATION

static const struct { const char *name; int (*call)(struct soap *, struct soap *, const char *); } OPERATIONS[] = {
#define OPERATION(name) { #name, call_##name },
#include "operations.h"
#undef OPERATION
};

int main(int argc, char **argv)
{
    struct soap *node = soap_new1(SOAP_C_UTFSTRING), *files = soap_new1(SOAP_C_UTFSTRING);
    size_t number;
    int code = 2;
    if (argc != 6) return 2;
    soap_ssl_init();
    if (soap_ssl_client_context(node, SOAP_SSL_REQUIRE_SERVER_AUTHENTICATION, NULL, NULL, argv[2], NULL, NULL)) {
        soap_print_fault(node, stderr);
        return 2;
    }
    node->userid = argv[3];
    node->passwd = argv[4];
    node->connect_timeout = node->recv_timeout = node->send_timeout = 30;
    for (number = 0; number < sizeof OPERATIONS / sizeof *OPERATIONS; number++)
        if (!strcmp(argv[5], OPERATIONS[number].name))
            code = OPERATIONS[number].call(node, files, argv[1]);
    if (code == 1) {
        const char **faultcode, **faultstring;
        soap_set_fault(node);
        faultcode = soap_faultcode(node);
        faultstring = soap_faultstring(node);
        fprintf(stderr, "%s: %s\n", *faultcode ? *faultcode : "no reply", *faultstring ? *faultstring : "");
    }
    soap_destroy(node); soap_end(node); soap_free(node);
    soap_destroy(files); soap_end(files); soap_free(files);
    return code;
}
