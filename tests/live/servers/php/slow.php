<?php
function wait_for_the_stock_room() {
    usleep(2500000);
}
wait_for_the_stock_room();
echo getmypid(), "\n";
