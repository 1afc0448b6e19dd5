<?php
http_response_code((int)$_GET['n']);
echo "as asked\n";
