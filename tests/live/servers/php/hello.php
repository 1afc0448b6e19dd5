<?php
echo "hello ", $_GET['n'] ?? '', "\n";
