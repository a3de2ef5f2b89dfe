<?php

declare(strict_types=1);

/*
 * The tests use what Composer installed for examples/chat: the real framework and this package,
 * found the way an application finds them.
 */

$loader = require dirname(__DIR__, 2).'/examples/chat/vendor/autoload.php';
$loader->addPsr4('Fanfare\\Laravel\\Tests\\', __DIR__);
