"""The bundled incident, from OTLP to verdict, and the live shop that makes such incidents."""
