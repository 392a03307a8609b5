<?php
// One call through PHP's SoapClient: url, certificate, user, password, wsdl|plain, operation, parameters as JSON. Prints JSON.
[, $url, $certificate, $user, $password, $mode, $operation, $parameters] = $argv;
$options = [
    'login' => $user, 'password' => $password, 'cache_wsdl' => WSDL_CACHE_NONE, 'features' => SOAP_SINGLE_ELEMENT_ARRAYS,
    'stream_context' => stream_context_create(['ssl' => ['cafile' => $certificate]]),
];
if ($mode == 'plain') {
    $options += ['location' => $url, 'uri' => 'urn:dtc-xen'];
}
try {
    $client = new SoapClient($mode == 'wsdl' ? $url . '?wsdl' : null, $options);
    $values = json_decode($parameters, true);
    if ($mode == 'wsdl') {
        $result = $client->__soapCall($operation, [$values])->Result;
    } else {
        $named = [];
        foreach ($values as $name => $value) {
            $named[] = new SoapParam($value, $name);
        }
        $result = $client->__soapCall($operation, $named);
    }
    echo json_encode(['result' => $result]);
} catch (SoapFault $fault) {
    echo json_encode(['code' => $fault->faultcode, 'text' => $fault->faultstring, 'detail' => $fault->detail ?? null]);
}
