"""Files of any format -> documents, in bounded memory, with everything dropped counted."""
