<?php
// Calls through PHP's SoapClient. Standard input, JSON: url, certificate, user, password, mode (wsdl or plain), calls (each an operation and
// its parameters). Prints JSON: of each call the result, or the fault's code, text and detail.
$given = json_decode(stream_get_contents(STDIN), true, 64, JSON_THROW_ON_ERROR);
$wsdl = $given['mode'] == 'wsdl';
$options = [
    'login' => $given['user'], 'password' => $given['password'], 'cache_wsdl' => WSDL_CACHE_NONE, 'features' => SOAP_SINGLE_ELEMENT_ARRAYS,
    'stream_context' => stream_context_create(['ssl' => ['cafile' => $given['certificate']]]),
];
$client = new SoapClient($wsdl ? $given['url'] . '?wsdl' : null, $options + ($wsdl ? [] : ['location' => $given['url'], 'uri' => 'urn:dtc-xen']));
$told = [];
foreach ($given['calls'] as [$operation, $parameters]) {
    try {
        if ($wsdl) {
            $result = $client->__soapCall($operation, [$parameters])->Result;
        } else {
            $named = array_map(fn($name, $value) => new SoapParam($value, $name), array_keys($parameters), $parameters);
            $result = $client->__soapCall($operation, $named);
        }
        $told[] = ['result' => $result];
    } catch (SoapFault $fault) {
        $told[] = ['code' => $fault->faultcode, 'text' => $fault->faultstring, 'detail' => $fault->detail ?? null];
    }
}
echo json_encode($told, JSON_THROW_ON_ERROR);
