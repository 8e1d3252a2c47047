# SPDX-License-Identifier: Apache-2.0
# The debhelper sequence of packages with Rasad plugins: Build-Depends: dh-sequence-rasad.
use warnings;
use strict;
use Debian::Debhelper::Dh_Lib;

insert_after('dh_install', 'dh_rasad');

1;
