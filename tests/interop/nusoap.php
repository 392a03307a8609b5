<?php
// Calls as the panel makes them: nusoap, no WSDL, its own choice of transport (curl, which it tells not to verify certificates).
// Standard input, JSON: url, user, password, calls (each an operation and its parameters). Prints JSON: of each call the result and getError().
error_reporting(E_ERROR);
require 'nusoap/nusoap.php';
$given = json_decode(stream_get_contents(STDIN), true, 64, JSON_THROW_ON_ERROR);
$told = [];
foreach ($given['calls'] as [$operation, $parameters]) {
    $client = new nusoap_client($given['url']);
    $client->setCredentials($given['user'], $given['password']);
    $told[] = ['result' => $client->call($operation, $parameters), 'error' => $client->getError()];
}
echo json_encode($told, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE);
