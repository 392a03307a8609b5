#!/usr/bin/perl
# Calls through SOAP::Lite, RPC/encoded, its parameters by name. Standard input, JSON: url, certificate, user, password, calls (each an operation
# and its parameters). Prints JSON: of each call the result, or the fault's code, text and detail.
use strict;
use warnings;
use JSON::PP;
use SOAP::Lite;

my $given = decode_json(do { local $/; <STDIN> });

# It sends credentials only when it is challenged.
sub SOAP::Transport::HTTP::Client::get_basic_credentials { return ($given->{user}, $given->{password}) }

my $client = SOAP::Lite->proxy($given->{url}, timeout => 30, ssl_opts => [verify_hostname => 1, SSL_ca_file => $given->{certificate}])->uri('urn:dtc-xen');
$client->on_fault(sub { my ($self, $reply) = @_; return ref $reply ? $reply : die "no reply: " . $self->transport->status . "\n" });

# Texts beyond ASCII go as base64 of their bytes.
sub parameter { my ($name, $value) = @_; utf8::encode($value) if defined $value; return SOAP::Data->name($name => $value) }

my @told;
for my $call (@{ $given->{calls} }) {
    my ($operation, $parameters) = @$call;
    my %of = ref $parameters eq 'HASH' ? %$parameters : ();
    my $reply = $client->call($operation, map { parameter($_, $of{$_}) } sort keys %of);
    push @told, $reply->fault
        ? { code => $reply->faultcode, text => $reply->faultstring, detail => $reply->faultdetail }
        : { result => $reply->result };
}
print encode_json(\@told);
