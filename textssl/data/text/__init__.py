"""Files of any format -> documents and sentences, in bounded memory, with everything dropped counted."""
