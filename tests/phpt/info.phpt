--TEST--
phpinfo() names the versions
--EXTENSIONS--
fanfare
--FILE--
<?php
(new ReflectionExtension('fanfare'))->info();
?>
--EXPECTF--

fanfare

Fanfare => enabled
Version => %d.%d.%d
Protocol version => 1
Ring version => 1
Record version => 1
