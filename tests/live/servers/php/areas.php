<?php
try {
    throw new LengthException('too long');
} catch (LengthException $e) {
}
echo @$nothing['x'], "\n";
trigger_error("stock is 'empty'", E_USER_WARNING);
usleep(300000);
