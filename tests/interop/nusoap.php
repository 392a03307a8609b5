<?php
// One call as the panel makes it, through nusoap without a WSDL: url, user, password, operation, parameters as JSON. Prints JSON.
error_reporting(E_ERROR);
require 'nusoap/nusoap.php';
[, $url, $user, $password, $operation, $parameters] = $argv;
$client = new nusoap_client($url);
$client->setCredentials($user, $password);
$result = $client->call($operation, json_decode($parameters, true));
echo json_encode(['result' => $result, 'error' => $client->getError()]);
