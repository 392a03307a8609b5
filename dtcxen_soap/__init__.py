"""dtcxen_soap: the node daemon of the DTC hosting panel, as a SOAP service that checks before it acts."""

__version__ = "1.0.0.dev1"
