# The filter of the comparison on Sendmail::PMilter: a hook at every stage, the last one adds a header. Its default
# dispatcher forks a process for each connection.
use strict;
use warnings;
use Sendmail::PMilter qw(:all);

my $go_on = sub { SMFIS_CONTINUE };
my %hooks = (
  connect => $go_on,
  helo => $go_on,
  envfrom => sub {
    my ($context, $sender) = @_;
    $context->setpriv({ length => 0 });
    return $sender =~ /\@spam\.example>$/ ? SMFIS_REJECT : SMFIS_CONTINUE;
  },
  envrcpt => $go_on,
  data => $go_on,
  header => sub {
    my ($context, $name, $value) = @_;
    $context->getpriv->{length} += length $value;
    return SMFIS_CONTINUE;
  },
  eoh => $go_on,
  body => sub {
    my ($context, $chunk) = @_;
    $context->getpriv->{length} += length $chunk;
    return SMFIS_CONTINUE;
  },
  eom => sub {
    my ($context) = @_;
    $context->addheader('X-Benchmark', 'yes');
    return SMFIS_CONTINUE;
  },
  abort => $go_on,
  close => $go_on,
);

my $server = Sendmail::PMilter->new;
$server->set_listen(4096);
$server->setconn($ARGV[0]) or die "cannot listen on $ARGV[0]: $!\n";
$server->register('benchmark', \%hooks, SMFIF_ADDHDRS);
$server->main;
