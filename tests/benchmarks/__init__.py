"""What a handshake and an ESP packet cost, beside OpenSSL alone and beside strongSwan."""
