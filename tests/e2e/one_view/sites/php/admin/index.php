<?php
require __DIR__ . '/../every.php';
place('strict', '');
